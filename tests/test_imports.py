"""What imports what: a pure core, no cycles, and nothing heavy before its time."""

import ast
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest
from public_names import PACKAGES, PUBLIC, names_of

import jaxstyle
from jaxstyle.files.image_files import save_image
from jaxstyle.files.param_files import save_params
from jaxstyle.files.style_files import FORMAT

PACKAGE = Path(jaxstyle.__file__).parent

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").glob("*.py"))

PUBLIC_NAMES = {f"jaxstyle.{name}" for name in names_of(jaxstyle)} | {
    f"jaxstyle.{package}.{name}"
    for package, module in PACKAGES.items()
    for name in names_of(module)
}
"""All that may be imported of the package, in each place where it is."""

POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
"""What Windows lacks of the standard library."""

FOLDERS = (
    *("kernels", "images", "scaling", "vgg", "losses", "optimize", "nets", "training"),
    *("transport", "video", "files", "data", "convert", "cli"),
)
"""The sub-packages; each imports only itself and those before it."""

DECODER = ("train.decoder_command", "train.decoder_command.main")
"""The program of ``scripts/train_decoder.py``, which is no command of users."""

PURE = FOLDERS[: FOLDERS.index("files")]
"""Those of pure functions."""

CORE_LIBRARIES = {"jax", "flax", "optax", "numpy", "jaxtyping"}

SHELL_LIBRARIES = {
    *("PIL", "av", "cv2", "h5py", "huggingface_hub", "onnx", "safetensors", "tqdm"),
    *("gradio", "shtab"),
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


def folder_of(module: str) -> str:
    return module.partition(".")[0]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


IMPORTS = {module_name(path): set(imported_by(path)) for path in PACKAGE.rglob("*.py")}
"""What each module imports, and each name from it."""


def modules_of_the_package(names: set[str]) -> set[str]:
    return {name.removeprefix("jaxstyle.") for name in names} & set(IMPORTS)


GRAPH = {module: modules_of_the_package(names) for module, names in IMPORTS.items()}

MODULES = {module for module in GRAPH if not module.endswith("__init__")}

CORE = sorted(module for module in MODULES if folder_of(module) in PURE)
"""The modules of pure functions."""


def loaded_by(*command: str) -> set[str]:
    """Return the modules that a successful Python process loads, beside its own."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = (
        line for line in done.stderr.splitlines() if line.startswith("import time")
    )
    return {line.rpartition("|")[2].strip() for line in lines}


# --- the source ---------------------------------------------------------------------


def test_no_imports_go_round_in_circles() -> None:
    order = list(TopologicalSorter(GRAPH).static_order())
    assert set(order) == set(IMPORTS)


def test_every_module_lies_in_a_folder_of_the_map() -> None:
    assert {folder_of(module) for module in MODULES} - {"__main__"} == set(FOLDERS)


def test_folders_import_only_those_before_them() -> None:
    upwards = {
        f"{module} imports {other}"
        for module in MODULES - {"__main__"}
        for other in GRAPH[module]
        if FOLDERS.index(folder_of(other)) > FOLDERS.index(folder_of(module))
    }
    assert not upwards


def test_no_module_name_is_used_twice() -> None:
    names = Counter(module.rpartition(".")[2] for module in MODULES)
    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_is_needed_that_windows_lacks() -> None:
    users = {module for module, names in IMPORTS.items() if names & POSIX}
    assert users == {"data.coco"}  # which does without


@pytest.mark.parametrize("module", CORE)
def test_the_core_needs_few_libraries(module: str) -> None:
    libraries = {name.partition(".")[0] for name in IMPORTS[module]}
    allowed = CORE_LIBRARIES | sys.stdlib_module_names | {"jaxstyle"}
    assert libraries <= allowed


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_use_public_names_and_the_command_line(script: Path) -> None:
    names = {name for name in imported_by(script) if folder_of(name) == "jaxstyle"}
    packages = {"jaxstyle", *(f"jaxstyle.{name}" for name in PACKAGES)}
    command_line = {f"jaxstyle.cli.{x}" for x in ("main", "main.main", *DECODER)}
    assert names <= packages | PUBLIC_NAMES | command_line


def test_modules_import_each_other_by_name() -> None:
    """Not through packages, whose names are imported on first use."""
    for module, names in IMPORTS.items():
        assert not names & set(PUBLIC), module


# --- at run time --------------------------------------------------------------------


def test_importing_the_package_loads_no_library() -> None:
    loaded = loaded_by("-c", "import jaxstyle")
    assert "jaxstyle" in loaded
    assert not loaded & (CORE_LIBRARIES | SHELL_LIBRARIES)


def test_importing_the_core_loads_no_library_of_the_shell() -> None:
    loaded = loaded_by("-c", f"import {', '.join(f'jaxstyle.{m}' for m in CORE)}")
    assert {f"jaxstyle.{module}" for module in CORE} <= loaded
    assert {"jax", "optax"} <= loaded
    assert not loaded & SHELL_LIBRARIES


def test_presets_are_plain_data_without_jax() -> None:
    modules = ("jaxstyle.optimize.presets", "jaxstyle.training.recipes")
    loaded = loaded_by("-c", f"import {', '.join(modules)}")
    assert {*modules} <= loaded
    assert not loaded & {"jax", "numpy", "optax", "flax"}


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
    assert "jaxstyle.cli.main" in loaded
    assert not loaded & (CORE_LIBRARIES | SHELL_LIBRARIES)


@pytest.mark.parametrize("program", PROGRAMS)
def test_telling_of_styles_needs_no_jax(program: str, tmp_path: Path) -> None:
    save_params({}, path := tmp_path / "x.safetensors", metadata=FORMAT)
    loaded = loaded_by(*PROGRAMS[program], "styles", str(path))
    assert {"jaxstyle.files.style_files", "safetensors"} <= loaded
    assert not loaded & {"jax", "flax", "optax", "PIL", "huggingface_hub"}


def test_stylizing_by_a_net_needs_no_flax(tmp_path: Path) -> None:
    """It takes half a second to import."""
    save_image(np.zeros((16, 16, 3), np.float32), photo := tmp_path / "photo.png")
    options = ("--style", "great-wave-8", "-o", str(tmp_path / "out.png"), "--quiet")
    loaded = loaded_by("-m", "jaxstyle", "stylize", str(photo), *options)
    assert {"jaxstyle.cli.stylize.painting", "jax"} <= loaded
    assert not loaded & {"flax", "flax.linen", "jaxstyle.transport.stylization"}
