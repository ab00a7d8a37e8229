"""What the public names stand for, those of the module for training included."""

from inspect import isclass, isfunction
from typing import Any

import jaxstyle
from jaxstyle import training

OWN = ("jaxstyle.training", "jaxstyle.photo_cache")
"""The modules whose names are part of the module for training."""

PUBLIC: dict[str, Any] = {
    f"jaxstyle.{name}": getattr(jaxstyle, name) for name in jaxstyle.__all__
} | {
    f"jaxstyle.training.{name}": item
    for name, item in vars(training).items()
    if getattr(item, "__module__", "") in OWN and name[0] != "_"
}

FUNCTIONS = {name: item for name, item in PUBLIC.items() if isfunction(item)}

CLASSES = {name: item for name, item in PUBLIC.items() if isclass(item)}
