"""The options of ``jaxstyle optimize``: the picture's settings, files, and the run."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxstyle.cli.options import Options, sweepable
from jaxstyle.losses.config import (
    REQUIRED,
    file_name,
    option,
    seed_number,
)
from jaxstyle.optimize.presets import PRESETS, OptimizeConfig


def make_sweep_parser(cls: type[Options]) -> Callable[[str], tuple[str, list[Any]]]:
    """Make a parser of an option and the values to try: ``style_weight=1,10,100``.

    A comma in the name of a file is written with a backslash before it.
    """
    options = sweepable(cls)

    def parse(text: str) -> tuple[str, list[Any]]:
        name, _, values = text.partition("=")
        if name not in options:
            raise ValueError(
                f"expected NAME=VALUE,VALUE,... with one of {', '.join(options)}, "
                f"got {text!r}"
            )
        parts = re.split(r"(?<!\\),", values)
        return name, [options[name].parse(x.replace("\\,", ",")) for x in parts]

    return parse


@dataclass(frozen=True, kw_only=True)
class OptimizeOptions(Options):
    """The options of ``jaxstyle optimize``."""

    content: str = option(
        REQUIRED,
        "the photo to keep, or its http(s) address",
        positional=True,
        metavar="CONTENT",
        parse=file_name,
        sweep=True,
    )
    styles: Sequence[str] = option(
        REQUIRED,
        "the painting, or several; each a file or an http(s) address",
        name="style",
        positional=True,
        metavar="STYLE",
        nargs="+",
        parse=file_name,
        sweep=True,
    )
    output: str = option(
        REQUIRED,
        "the picture to write: .png, .jpg, .webp or .tif; its settings are recorded "
        "in it",
        short="-o",
        metavar="OUT",
    )
    config: OptimizeConfig = field(
        default=PRESETS["default"], metadata={"presets": PRESETS}
    )
    masks: Sequence[str] | None = option(
        None,
        "one for each painting: white where it belongs in the photo, gray for less; "
        "what is black in all stays as it is",
        metavar="IMAGE",
        nargs="+",
        group="regions",
    )
    style_masks: Sequence[str] | None = option(
        None,
        "one for each painting: white on the part of it that counts, or 'all'",
        metavar="IMAGE|all",
        nargs="+",
    )
    seed: int = option(0, "of the noise", parse=seed_number, sweep=True, group="run")
    devices: int | None = option(
        None,
        "share the rows of the picture among N devices: the same picture, in an Nth "
        "of the memory of each (default: one, or all if its memory is too small)",
    )
    tile: int | None = option(
        None,
        "compute the picture in tiles of that side, one after the other: the same "
        "picture, in less memory and more time (default: 512, if memory is too small "
        "for the whole)",
        metavar="PIXELS",
    )
    resume: bool = option(
        False, "continue a run that was interrupted, from OUT.unfinished"
    )
    quiet: bool = option(False, "show no progress")
    save_every: int | None = option(
        None,
        "write the picture so far every N steps, as OUT with the step's number",
        group="more to look at",
    )
    preview: str | None = option(
        None,
        "show the picture so far in that image, anew at the end of each scale and "
        "every few seconds",
        metavar="FILE",
    )
    film: str | None = option(
        None, "how the picture came about: .mp4, .gif or .webp", metavar="FILE"
    )
    sheet: str | None = option(
        None, "photo, paintings and picture side by side", metavar="FILE"
    )
    plot: str | None = option(
        None, "a plot of the losses: .png, .svg or .pdf", metavar="FILE"
    )
    sweep: Sequence[tuple[str, Sequence[Any]]] = option(
        (),
        "try several values of {sweepable}: OUT becomes a labeled sheet, beside which "
        "every picture is written. With several --sweep all combinations are tried, "
        "and the first makes the rows of the sheet. A comma in the name of a file is "
        "written \\,",
        metavar="NAME=X,X,...",
        parse_for=make_sweep_parser,
        repeated=True,
    )
