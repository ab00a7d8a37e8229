"""Sphinx's settings, and how it reads docstrings; `scripts/make_docs.py` runs it."""

import ast
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import optax
from docutils import nodes
from jax.typing import ArrayLike, DTypeLike
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.typing import stringify_annotation

project = "jaxstyle"
html_title = "jaxstyle"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]

# Every name in `backticks` is a reference, and one that leads nowhere is a warning.
default_role = "py:obj"
nitpicky = True
nitpick_ignore = [
    # What the Wasserstein losses compare with: made for users, and never by them.
    ("py:class", "jaxstyle.losses.style.Gaussian"),
    # What a painting consists of, likewise.
    ("py:class", "jaxstyle.kernels.gaussians.Gaussian"),
    ("py:class", "jaxstyle.optimize.steps.AnyState"),  # a type variable
    ("py:class", "jaxstyle.data.crops.Report"),  # for the command line
]

autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_generate = False
python_maximum_signature_line_length = 72
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"
napoleon_custom_sections = [("Attributes", "params_style")]

myst_heading_anchors = 3  # links to headings, as on GitHub

html_theme = "furo"
html_theme_options: dict[str, Any] = {"top_of_page_buttons": []}
html_copy_source = False
html_show_copyright = False

SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Examples):")

SHORTER = {
    stringify_annotation(optax.OptState, "smart"): "optax.OptState",
    stringify_annotation(ArrayLike, "smart"): "ArrayLike",
    stringify_annotation(DTypeLike, "smart"): "DTypeLike",
}
"""What types in signatures are called, instead of what they stand for."""


def setup(app: Sphinx) -> None:
    """Register what is below; Sphinx calls this."""
    app.connect("autodoc-process-signature", shorten_types)
    app.connect("autodoc-process-docstring", document_data, priority=400)
    app.connect("autodoc-process-docstring", mark_formulas, priority=400)
    app.connect("missing-reference", find_elsewhere)


def shorten_types(
    app: Sphinx, what: str, name: str, item: Any, options: Any, *signature: str | None
) -> tuple[str | None, ...]:
    """Write types as users know them."""
    return tuple(part and _shorten(part) for part in signature)


def _shorten(signature: str) -> str:
    for long, short in SHORTER.items():
        signature = signature.replace(long, short)
    return re.sub(r"~?(\w+\.)+Array\b", "Array", signature)


def document_data(
    app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]
) -> None:
    """Give a constant the docstring below it, in the module that it comes from."""
    if what == "data":
        package, _, constant = name.rpartition(".")
        analyzer = ModuleAnalyzer.for_module(home(package, constant))
        lines[:] = analyzer.find_attr_docs()["", constant]


def home(package: str, name: str) -> str:
    """Return the full name of the module that defines a public name of a package."""
    stub = Path(str(import_module(package).__file__)).with_suffix(".pyi")
    return next(
        f"{package}.{node.module}"
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ImportFrom)
        and name in [alias.name for alias in node.names]
    )


def mark_formulas(
    app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]
) -> None:
    """Mark as literal what is indented outside of sections."""
    marked: list[str] = []
    in_section = in_formula = False
    for line in lines:
        if line and not line.startswith(" "):
            in_section, in_formula = bool(SECTION.fullmatch(line)), False
        elif line and not in_section and not in_formula:
            in_formula = True
            marked += [".. code-block:: text", ""]
        marked.append(line)
    lines[:] = marked


def find_elsewhere(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.TextElement | None:
    """Show names of other libraries as they are, if there are such names.

    Those in signatures come from the types themselves and need no check.
    """
    target = node["reftarget"]
    if target.startswith("jaxstyle"):
        return None
    if node["reftype"] == "class":
        return text
    try:
        pkgutil.resolve_name(target)
    except (AttributeError, ImportError, ValueError):
        return None
    return text
