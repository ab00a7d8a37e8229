"""Sheets of images with labels, and plots of losses over steps."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxstyle.files.atomic import atomic_path, check_output_path, explained

if TYPE_CHECKING:
    from PIL import ImageFont

Numbers: TypeAlias = Sequence[float] | ArrayLike
Curve: TypeAlias = tuple[Numbers, Numbers]
"""Steps and the values there, ``[n]`` each."""

Picture = Float[np.ndarray, "_h _w 3"]

GAP = 8
"""The white margin between and around images, in pixels."""

LETTERS = range(12, 41)
"""The range of font sizes, in pixels; a label has 1/20 of the tallest image."""

SUFFIXES = (".pdf", ".png", ".svg")

FEW = 100
"""Curves of up to this many values are drawn with dots."""


def make_sheet(
    rows: Sequence[Sequence[Picture]],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> Float[np.ndarray, "h w 3"]:
    """Arrange images, in [0, 1] and of any sizes, in labeled rows and columns on white.

    A column is as wide as the widest that is in it, a row as high as the highest. Rows
    may differ in length.

    Args:
        rows: images in [0, 1], of any sizes.
        row_labels: what to write before the rows, if anything.
        column_labels: what to write above the columns, if anything.

    Returns:
        An image ``[h, w, 3]`` in [0, 1].

    Examples:
        >>> rows = [[photo, painting], [photo]]
        >>> sheet = jaxstyle.files.make_sheet(rows, column_labels=["photo", "painting"])
        >>> jaxstyle.save_image(sheet, "sheet.png")
    """
    heights = [len(image) for row in rows for image in row]
    if not heights:
        raise ValueError("a sheet needs at least one image")
    size = min(max(max(heights) // 20, LETTERS.start), LETTERS.stop - 1)
    write = partial(draw_text, size=size)
    cells = [list(row) for row in rows]
    if column_labels:
        cells.insert(0, [write(label) for label in column_labels])
        row_labels = ["", *row_labels] if row_labels else ()
    if row_labels:
        labels = [write(label) for label in row_labels]
        cells = [[label, *row] for label, row in zip(labels, cells, strict=True)]
    return _lay_out(cells)


def draw_text(text: str, *, size: int) -> Picture:
    """Draw one line of black text on white, in a font of ``size`` pixels.

    Characters that no line of text or no font has are escaped.
    """
    from PIL import Image, ImageDraw

    text, font = _choose_font("".join(map(_printable, text)), size)
    width = max(1, round(font.getlength(text)))
    picture = Image.new("L", (width, round(1.25 * size)), "white")
    ImageDraw.Draw(picture).text((0, size), text, "black", font, anchor="ls")
    gray = np.asarray(picture, np.float32) / 255
    return np.repeat(gray[..., None], 3, axis=-1)


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def _choose_font(text: str, size: int) -> "tuple[str, ImageFont.FreeTypeFont]":
    """Choose the first font that has all characters: Pillow's own, or an installed one.

    If there is none, the text is returned escaped.
    """
    from PIL import ImageFont

    default: Any = ImageFont.load_default(size)
    if text.isascii():
        return text, default
    try:
        from matplotlib import font_manager, get_data_path
    except ImportError:  # without it, no other font is known
        return text.encode("ascii", "backslashreplace").decode(), default
    shipped = Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    for path in (str(shipped), *sorted(map(str, font_manager.findSystemFonts()))):
        with suppress(OSError):  # not a font that FreeType scales
            font = ImageFont.truetype(path, size)
            if _has_all(font, text):
                return text, font
    return text.encode("ascii", "backslashreplace").decode(), default


def _has_all(font: "ImageFont.FreeTypeFont", text: str) -> bool:
    """Test whether no character looks like one that no font has."""
    missing = bytes(font.getmask("\uffff"))
    return all(x.isspace() or bytes(font.getmask(x)) != missing for x in {*text})


def _lay_out(rows: Sequence[Sequence[Picture]]) -> Picture:
    nothing = np.ones((0, 0, 3), np.float32)
    columns = list(zip_longest(*rows, fillvalue=nothing))
    heights = [max(len(image) for image in row) for row in rows]
    widths = [max(image.shape[1] for image in column) for column in columns]
    tops, lefts = _starts(heights), _starts(widths)
    sheet = np.ones((tops[-1], lefts[-1], 3), np.float32)
    for row, top, cell_height in zip(rows, tops, heights, strict=False):
        for image, left, cell_width in zip(row, lefts, widths, strict=False):
            height, width, _ = image.shape
            y, x = top + (cell_height - height) // 2, left + (cell_width - width) // 2
            sheet[y : y + height, x : x + width] = image
    return sheet


def _starts(lengths: Sequence[int]) -> list[int]:
    """Compute where cells of these lengths begin, and the total length."""
    return [GAP, *(int(end) for end in GAP + np.cumsum(np.array(lengths) + GAP))]


# --- plots --------------------------------------------------------------------------


def save_loss_plot(
    curves: Mapping[str, Curve],
    path: str | Path,
    *,
    smoothed: Collection[str] = (),
    marks: Mapping[int, str] | None = None,
) -> None:
    """Plot losses over steps, on a logarithmic scale if any is positive.

    That scale omits values that are not positive. Noisy curves, named in ``smoothed``,
    are drawn pale with their running means; ``marks`` are labels of vertical lines, by
    step. The suffix chooses the format: `SUFFIXES`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_plot_path(path)
    points = {name: _check_curve(name, curve) for name, curve in curves.items()}
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlabel="step", ylabel="loss")
    if any((values > 0).any() for _, values in points.values()):
        axes.set_yscale("log", nonpositive="mask")
        points = {name: p for name, p in points.items() if (p[1] > 0).any()}
    for name, (steps, values) in points.items():
        if name in smoothed:
            axes.plot(steps, values, color="0.8", linewidth=0.8, label=name)
            axes.plot(steps, _smooth(values), label=f"{name}, smoothed")
        else:
            axes.plot(
                steps, values, marker="." if len(steps) <= FEW else "", label=name
            )
    _draw_marks(axes, marks or {})
    axes.grid(alpha=0.3)
    if points:
        axes.legend()
    with explained(f"cannot write the plot {path}"), atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def plot_losses(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot the losses of `jaxstyle.files.run_log.read_metrics` by `save_loss_plot`."""
    curves = {
        "training": _curve(metrics, "loss"),
        "held-out photos": _curve(metrics, "validation_loss"),
    }
    save_loss_plot(curves, path, smoothed=["training"])


def _curve(metrics: Sequence[Mapping[str, Any]], name: str) -> Curve:
    lines = [line for line in metrics if name in line]
    return [line["step"] for line in lines], [line[name] for line in lines]


def check_plot_path(path: str | Path) -> None:
    """Raise, before any long work, as `check_output_path` does for a plot.

    A ModuleNotFoundError says if there is no Matplotlib.
    """
    check_output_path(path, kind="plot", suffixes=SUFFIXES)
    import_module("matplotlib")


def _check_curve(name: str, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    steps, values = (np.asarray(axis, np.float64) for axis in curve)
    if steps.ndim != 1 or steps.shape != values.shape:
        raise ValueError(
            f"the curve {name!r} needs as many steps as values, [n] each, got "
            f"{steps.shape} and {values.shape}"
        )
    return steps, values


def _draw_marks(axes: Any, marks: Mapping[int, str]) -> None:
    """Draw vertical lines, and labels above the plot."""
    for step in marks:
        axes.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
    upper = axes.secondary_xaxis("top")
    upper.set_xticks(list(marks), list(marks.values()), ha="left", fontsize="small")
    upper.tick_params(length=0)


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Compute running means over the last fiftieth of the curve before each point."""
    window = max(1, len(losses) // 50)
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
