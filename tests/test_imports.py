"""What imports what: a pure core, no cycles, and nothing heavy before its time."""

import ast
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import jaxstyle
from jaxstyle.param_files import save_params
from jaxstyle.style_files import FORMAT, FORMAT_VERSION

PACKAGE = Path(jaxstyle.__file__).parent

CORE = {
    "chunks",
    "color",
    "convolutions",
    "divided_nets",
    "gatys",
    "images",
    "inits",
    "keepers",
    "losses",
    "matrix_roots",
    "measures",
    "mixtures",
    "objective",
    "optimizers",
    "padded_nets",
    "perceptual",
    "photo_cache",
    "pooling",
    "presets",
    "pyramid",
    "rows",
    "scenes",
    "style_losses",
    "targets",
    "training",
    "training_presets",
    "transform_net",
    "transport",
    "vgg",
    "vgg_layers",
    "vgg_params",
    "windows",
    "winograd",
}
"""The modules of pure functions."""

CORE_LIBRARIES = {"jax", "flax", "optax", "numpy", "jaxtyping"}

SHELL_LIBRARIES = {
    *("PIL", "av", "h5py", "huggingface_hub", "onnx", "safetensors", "tqdm"),
    *("array_record", "grain", "matplotlib", "orbax", "tensorboardX", "tensorflow"),
    *("tensorflow_datasets", "torch", "urllib.request"),
}
"""What the core has no use for."""


def imported_by(path: Path) -> Iterator[str]:
    """Yield the full names that a module's source imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


IMPORTS = {module_name(path): set(imported_by(path)) for path in PACKAGE.rglob("*.py")}
"""What each module imports, and each name from it."""


def modules_of_the_package(names: set[str]) -> set[str]:
    return {name.removeprefix("jaxstyle.") for name in names} & set(IMPORTS)


GRAPH = {module: modules_of_the_package(names) for module, names in IMPORTS.items()}


def loaded_by(*command: str) -> set[str]:
    """Return the modules that a successful Python process loads, beside its own."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (
        line for line in done.stderr.splitlines() if line.startswith("import time")
    )
    return {line.rpartition("|")[2].strip() for line in lines}


# --- the source ---------------------------------------------------------------------


def test_no_imports_go_round_in_circles() -> None:
    order = list(TopologicalSorter(GRAPH).static_order())
    assert set(order) == set(IMPORTS)


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_imports_only_the_core(module: str) -> None:
    assert GRAPH[module] <= CORE


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_needs_few_libraries(module: str) -> None:
    libraries = {name.partition(".")[0] for name in IMPORTS[module]}
    allowed = CORE_LIBRARIES | sys.stdlib_module_names | {"jaxstyle"}
    assert libraries <= allowed


def test_modules_import_each_other_by_name() -> None:
    """Not through the package, whose names are imported on first use."""
    public = {f"jaxstyle.{name}" for name in jaxstyle.__all__} - {
        f"jaxstyle.{module}" for module in IMPORTS
    }
    for module, names in IMPORTS.items():
        assert not names & public, module


# --- at run time --------------------------------------------------------------------


def test_importing_the_package_loads_no_library() -> None:
    loaded = loaded_by("-c", "import jaxstyle")
    assert "jaxstyle" in loaded
    assert not loaded & (CORE_LIBRARIES | SHELL_LIBRARIES)


def test_importing_the_core_loads_no_library_of_the_shell() -> None:
    loaded = loaded_by(
        "-c", f"import {', '.join(f'jaxstyle.{m}' for m in sorted(CORE))}"
    )
    assert {f"jaxstyle.{module}" for module in CORE} <= loaded
    assert {"jax", "flax", "optax"} <= loaded
    assert not loaded & SHELL_LIBRARIES


PROGRAMS = {
    "jaxstyle": (str(Path(sysconfig.get_path("scripts")) / "jaxstyle"),),
    "python -m jaxstyle": ("-m", "jaxstyle"),
}


@pytest.mark.parametrize(
    "arguments",
    [
        *("--help", "--version", "optimize --help", "train --help", "stylize --help"),
        *("styles --help", "push --help"),
    ],
)
@pytest.mark.parametrize("program", PROGRAMS)
def test_asking_for_help_loads_no_library(program: str, arguments: str) -> None:
    loaded = loaded_by(*PROGRAMS[program], *arguments.split())
    assert "jaxstyle.cli" in loaded
    assert not loaded & (CORE_LIBRARIES | SHELL_LIBRARIES)


@pytest.mark.parametrize("program", PROGRAMS)
def test_telling_of_styles_needs_no_jax(program: str, tmp_path: Path) -> None:
    marks = {"format": FORMAT, "format_version": FORMAT_VERSION}
    save_params({}, path := tmp_path / "x.safetensors", metadata=marks)
    loaded = loaded_by(*PROGRAMS[program], "styles", str(path))
    assert {"jaxstyle.style_files", "safetensors"} <= loaded
    assert not loaded & {"jax", "flax", "optax", "PIL", "huggingface_hub"}
