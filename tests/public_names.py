"""The public names: those at the top of the package, and those of its sub-packages."""

from inspect import isclass, isfunction, ismodule
from types import ModuleType
from typing import Any, Protocol

import jaxstyle


def names_of(package: ModuleType) -> dict[str, Any]:
    """Return what a package's public names stand for, sub-packages left out."""
    items = {name: getattr(package, name) for name in package.__all__}
    return {name: item for name, item in items.items() if not ismodule(item)}


PACKAGES: dict[str, ModuleType] = {
    name: item for name in jaxstyle.__all__ if ismodule(item := getattr(jaxstyle, name))
}
"""The sub-packages with public names."""

TOP = names_of(jaxstyle)
"""What has a short name besides the one in its sub-package."""

PUBLIC: dict[str, Any] = {f"jaxstyle.{name}": item for name, item in TOP.items()} | {
    f"jaxstyle.{package}.{name}": item
    for package, module in PACKAGES.items()
    for name, item in names_of(module).items()
    if TOP.get(name) is not item
}
"""Every public name, once."""

FUNCTIONS = {name: item for name, item in PUBLIC.items() if isfunction(item)}

CLASSES = {name: item for name, item in PUBLIC.items() if isclass(item)}

PROTOCOLS = {
    name: item for name, item in CLASSES.items() if getattr(item, "_is_protocol", False)
}

MEMBERS: dict[str, Any] = {
    f"{name}.{member}": item
    for name, protocol in PROTOCOLS.items()
    for member, item in vars(protocol).items()
    if (isfunction(item) or isinstance(item, property)) and member not in dir(Protocol)
}
"""What the protocols require."""
