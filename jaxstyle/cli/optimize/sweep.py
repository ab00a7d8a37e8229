"""The pictures of a sweep, one after the other by shared programs, and their sheet.

Pictures side by side in one program, by `jax.vmap`, take the same time on a CPU and
more memory. From Python, `jaxstyle.optimize_image` works under `jax.vmap`.
"""

import hashlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.picture_outputs import DONE, unfinished
from jaxstyle.cli.optimize.scene_inputs import Inputs, describe
from jaxstyle.cli.options import read_options, sweepable
from jaxstyle.files.checkpoints import find_differences
from jaxstyle.files.figures import make_sheet
from jaxstyle.files.image_files import load_image, save_image
from jaxstyle.files.json_files import load_object, save_object
from jaxstyle.optimize.scenes import INITS

LEDGER = "sweep.json"
"""The name of the file of a `Ledger`, in the folder of what is unfinished."""

OTHERS = ("film", "sheet", "plot")
"""Options for further files of one picture, which a sweep does not make."""


@dataclass(frozen=True)
class Ledger:
    """The results of a sweep so far: the exit codes of the pictures, by their files.

    Its file, in a folder of what is unfinished, holds the configuration too.
    """

    folder: Path
    configuration: Mapping[str, Any]
    codes: dict[str, int] = field(default_factory=dict)

    def has(self, output: str) -> bool:
        """Test whether a picture is done; those that were lost are not."""
        code = self.codes.get(output)
        return code is not None and (code != DONE or Path(output).exists())

    def save(self) -> None:
        """Write the file; if that fails, say so: the pictures may still be made."""
        content = {"configuration": self.configuration, "codes": self.codes}
        try:
            self.folder.mkdir(exist_ok=True)
            save_object(content, self.folder / LEDGER)
        except OSError as error:
            what = f"cannot write {self.folder / LEDGER}: {error.strerror}"
            print(f"jaxstyle optimize: {what}", file=sys.stderr)


def open_ledger(arguments: OptimizeOptions, inputs: Sequence[Inputs]) -> Ledger:
    """Load the ledger of the sweep to resume, or begin one.

    A ValueError says if it is damaged or of another configuration.
    """
    folder = unfinished(arguments.output)
    digests = "".join(dict.fromkeys(each.digest for each in inputs))
    configuration = {
        **describe(arguments),
        "sweep": {name: list(values) for name, values in arguments.sweep},
        "images and network": hashlib.sha256(digests.encode()).hexdigest()[:16],
    }
    if not arguments.resume:
        shutil.rmtree(folder, ignore_errors=True)
        return Ledger(folder, configuration)
    path = folder / LEDGER
    try:
        found = load_object(path, {"configuration": dict, "codes": dict})
        ledger = Ledger(folder, found["configuration"], found["codes"])
        if not all(isinstance(code, int) for code in ledger.codes.values()):
            raise ValueError("an exit code is no number")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged; delete {folder}") from error
    if differences := list(find_differences(ledger.configuration, configuration)):
        named = ", ".join(differences)
        raise ValueError(f"the sweep in {folder} is of another configuration: {named}")
    return ledger


def finish_sweep(
    arguments: OptimizeOptions, variants: Sequence[OptimizeOptions], ledger: Ledger
) -> int:
    """Write the sheet of all pictures that could be made; return the exit code."""
    outputs = [variant.output for variant in variants]
    made = [output if ledger.codes[output] == DONE else None for output in outputs]
    if any(made):
        save_sweep(arguments.output, arguments.sweep, made)
        print(f"{arguments.output}: {len(made) - made.count(None)} pictures")
    shutil.rmtree(ledger.folder, ignore_errors=True)
    return max(ledger.codes[output] for output in outputs)


def save_sweep(
    path: str,
    swept: Sequence[tuple[str, Sequence[float | str]]],
    pictures: Sequence[str | None],
) -> None:
    """Write the pictures of a sweep, None where there is none, as a labeled sheet.

    One setting makes a row of pictures; of several, the first makes the rows, and the
    others together the columns.
    """
    labels = [[f"{name} {make_label(x)}" for x in values] for name, values in swept]
    row_labels = labels.pop(0) if len(labels) > 1 else []
    columns = [", ".join(parts) for parts in product(*labels)]
    nothing = np.ones((0, 0, 3), np.float32)
    images = [nothing if file is None else load_image(file) for file in pictures]
    count = len(columns)
    rows = [images[at : at + count] for at in range(0, len(images), count)]
    sheet = make_sheet(rows, row_labels=row_labels, column_labels=columns)
    save_image(sheet, path)


# --- its pictures ------------------------------------------------------------------


def check_sweep(arguments: OptimizeOptions) -> None:
    """Raise a ValueError unless a sweep makes sense, and is all that is wanted."""
    names = [name for name, _ in arguments.sweep]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--sweep of {name} twice: give all values to one")
    if names and any(getattr(arguments, name) is not None for name in OTHERS):
        raise ValueError("--sweep makes a sheet alone, without --film, --sheet, --plot")
    if "style" in names and len(arguments.styles) > 1:
        raise ValueError(
            f"--sweep style=... replaces one painting, got {len(arguments.styles)}"
        )
    init = arguments.config.init
    if "seed" in names and (init == "content" or init not in INITS):
        raise ValueError(
            f"--sweep seed=... needs noise to start from, got --init {init}; "
            "use --init noise, gray or style-stats"
        )
    given = {"content": arguments.content, "style": arguments.styles[0]}
    for name, paths in arguments.sweep:
        if name in given and given[name] not in paths:
            raise ValueError(
                f"{given[name]} would not be used: put it among the values of "
                f"--sweep {name}=..., or give one of them instead of it"
            )


def find_variants(arguments: OptimizeOptions) -> list[OptimizeOptions]:
    """Make the options that make each picture of a sweep alone, row by row.

    Pictures are named after their values, ``out.style=wave.strength=0.2.png``; a
    ValueError if two would have the same name.
    """
    names = [name for name, _ in arguments.sweep]
    combinations = product(*(values for _, values in arguments.sweep))
    variants: dict[str, OptimizeOptions] = {}
    for values in combinations if names else ():
        variant = _vary(arguments, dict(zip(names, values, strict=True)))
        if variant.output in variants:
            raise ValueError(
                f"two values of --sweep would have the same name, in {variant.output}"
            )
        variants[variant.output] = variant
    return list(variants.values())


def make_label(value: float | str) -> str:
    """Make a short name for a value: that of a file without folder and suffix."""
    if isinstance(value, str):
        return Path(value).stem
    return str(value) if isinstance(value, int) else f"{value:g}"


def _vary(arguments: OptimizeOptions, values: Mapping[str, Any]) -> OptimizeOptions:
    """Replace the values of some options, and end the sweep."""
    label = ".".join(f"{name}={make_label(value)}" for name, value in values.items())
    output = Path(arguments.output)
    given = {key: value for key, value in arguments.given.items() if key != "sweep"}
    given["output"] = str(output.with_name(f"{output.stem}.{label}{output.suffix}"))
    options = sweepable(type(arguments))
    for name, value in values.items():
        before, info = given.get(name), options[name].info
        if info.update and isinstance(before, Mapping):
            value = info.update(before, value)  # keeps the proportions by layer
        given[name] = value if info.nargs is None else [value]
    return read_options(type(arguments), given)
