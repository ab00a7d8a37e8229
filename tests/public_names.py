"""What the public names stand for, those of the module for training included."""

from inspect import isclass, isfunction
from typing import Any

import jaxstyle
from jaxstyle import training

PUBLIC: dict[str, Any] = {
    f"jaxstyle.{name}": getattr(jaxstyle, name) for name in jaxstyle.__all__
} | {
    f"jaxstyle.training.{name}": item
    for name, item in vars(training).items()
    if getattr(item, "__module__", "") == "jaxstyle.training" and name[0] != "_"
}

FUNCTIONS = {name: item for name, item in PUBLIC.items() if isfunction(item)}

CLASSES = {name: item for name, item in PUBLIC.items() if isclass(item)}
