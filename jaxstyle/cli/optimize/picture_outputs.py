"""What ``jaxstyle optimize`` writes: the picture, and more to look at."""

from collections.abc import Mapping, Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.scene_inputs import Inputs
from jaxstyle.cli.optimize.variants import make_label
from jaxstyle.files.figures import check_plot_path, make_sheet, save_loss_plot
from jaxstyle.files.films import check_film_path, save_film
from jaxstyle.files.image_files import check_image_path, load_image, save_image
from jaxstyle.images import color
from jaxstyle.images.arrays import Image, fit_size
from jaxstyle.optimize.scenes import Scene, resize_image

FRAMES = 120
"""About how many frames a film has."""

FILM_SIDE = 720
"""The most pixels on the longer side of a film."""

CHECKS = {"film": check_film_path, "plot": check_plot_path, "sheet": check_image_path}
"""What else can be written, by the argument, and what checks where to."""


# --- before the run -----------------------------------------------------------------


def check_outputs(pictures: Sequence[OptimizeOptions], *, steps: int) -> None:
    """Raise a ValueError unless all can be written without losing an input.

    Args:
        pictures: the arguments of each picture.
        steps: how many are made.
    """
    written: dict[Path, str] = {}
    for arguments in pictures:
        check_image_path(arguments.output)
        for name, check in CHECKS.items():
            if (path := getattr(arguments, name)) is not None:
                check(path)
        for path in _written(arguments, steps=steps):
            if Path(path).resolve() in written:
                raise ValueError("two of the files to write are the same")
            written[Path(path).resolve()] = path
    for arguments in pictures:
        masks = (*(arguments.masks or ()), *(arguments.style_masks or ()))
        init = arguments.config.init
        for path in (arguments.content, *arguments.styles, *masks, init):
            if Path(path).resolve() in written:
                raise ValueError(
                    f"{path} is an input; writing the picture would lose it"
                )


def _written(arguments: OptimizeOptions, *, steps: int) -> list[str]:
    """Return the paths of all that is written for a picture."""
    every = arguments.save_every or steps
    so_far = [str(numbered(arguments.output, n)) for n in range(every, steps, every)]
    others = [getattr(arguments, name) for name in CHECKS]
    return [arguments.output, *(path for path in others if path is not None), *so_far]


def unfinished(path: str) -> Path:
    """Return the folder of what is there only until a picture is complete."""
    return Path(f"{path}.unfinished")


def numbered(path: str, step: int) -> Path:
    """Put a step's number before the suffix: ``out.00050.png``."""
    return Path(path).with_suffix(f".{step:05d}{Path(path).suffix}")


# --- pictures -----------------------------------------------------------------------


def in_color(picture: Image, photo: Image) -> Image:
    """Return a picture with the chroma of a photo."""
    height, width, _ = picture.shape
    return color.keep_chroma(resize_image(photo, (height, width)), picture)


def in_masks(picture: Image, scene: Scene) -> Image:
    """Return a picture with the content of a scene where no mask covers it.

    The losses alone would leave these parts as they come from the coarser scales.
    """
    if scene.masks is None:
        return picture
    size = (picture.shape[0], picture.shape[1])
    cover = jnp.clip(jnp.stack(list(scene.masks)).sum(0), 0, 1)
    cover = jax.image.resize(cover, size, "linear")[..., None]
    content = resize_image(scene.content, size)
    covered: Image = (1 - cover) * content + cover * picture
    return covered


def save_picture(
    picture: Image,
    path: str | Path,
    record: Mapping[str, Any],
    result: Mapping[str, float],
) -> None:
    """Write a picture with its settings and what came of them."""
    save_image(picture, path, settings={**record, "result": result})


def save_sweep(
    path: str,
    swept: Sequence[tuple[str, Sequence[float | str]]],
    pictures: Sequence[str | None],
) -> None:
    """Write the pictures of a sweep as a sheet, with what was set as labels.

    One setting makes a row of pictures; of several, the first makes the rows, and the
    others together the columns.

    Args:
        path: the sheet.
        swept: the values of each setting.
        pictures: the files, row by row, None where there is no picture.
    """
    labels = [
        [f"{name} {make_label(value)}" for value in values] for name, values in swept
    ]
    row_labels = labels.pop(0) if len(labels) > 1 else []
    columns = [", ".join(parts) for parts in product(*labels)]
    nothing = np.ones((0, 0, 3), np.float32)
    images = [nothing if file is None else load_image(file) for file in pictures]
    rows = [
        images[start : start + len(columns)]
        for start in range(0, len(images), len(columns))
    ]
    sheet = make_sheet(rows, row_labels=row_labels, column_labels=columns)
    save_image(sheet, path)


def save_sheet(
    path: str, arguments: OptimizeOptions, inputs: Inputs, picture: Image
) -> None:
    """Write photo, paintings and picture side by side, all as high as the picture."""
    height = picture.shape[0]
    paintings = [load_image(path) for path in arguments.styles]
    images = [inputs.photo, *(_as_high(jnp.asarray(x), height) for x in paintings)]
    labels = [Path(path).stem for path in (arguments.content, *arguments.styles)]
    row = [np.asarray(image) for image in (*images, picture)]
    save_image(make_sheet([row], column_labels=(*labels, "picture")), path)


def _as_high(image: Image, height: int) -> Image:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return resize_image(image, (height, width))


def save_plot(path: str, losses: ArrayLike, marks: Mapping[int, str]) -> None:
    """Write a plot of the losses, up to the last that was measured."""
    values = np.asarray(losses)
    steps = np.flatnonzero(np.isfinite(values))
    save_loss_plot({"loss": (steps, values[steps])}, path, marks=marks)


# --- films --------------------------------------------------------------------------


class Frames:
    """The frames of a film, as files in a folder until the film is made."""

    def __init__(self, folder: Path, *, steps: int) -> None:
        self.folder = folder
        self.every = max(1, steps // FRAMES)

    def add(self, step: int, picture: Image) -> None:
        """Keep the picture of a step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        frame = resize_image(picture, _frame_size(picture))
        save_image(frame, self.folder / f"{step:06d}.png")

    def save(self, path: str, last: Image) -> None:
        """Make the film, of which a last picture is the end."""
        files = sorted(self.folder.glob("[0-9]*.png"))  # none that a kill cut short
        frames = (load_image(file) for file in files)
        film = chain(frames, [np.asarray(last)])
        save_film(film, path, size=_frame_size(last))


def _frame_size(picture: Image) -> tuple[int, int]:
    """Return the height and width of a picture as a frame."""
    height, width, _ = picture.shape
    return fit_size(height, width, min(FILM_SIDE, max(height, width)))
