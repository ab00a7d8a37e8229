"""From the frames of a film to its pictures, shot by shot.

For each shot the statistics of some of its frames are held; see `jaxstyle.nets.hold`.
Two readers go through the film: one ahead to the end of each shot, for these frames,
and one that paints.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from jaxstyle.cli import runtime
from jaxstyle.cli.loading import Style
from jaxstyle.cli.stylize import painting
from jaxstyle.cli.stylize.full_size import Picture, painted_size, restore_size
from jaxstyle.cli.video.film_inputs import Film
from jaxstyle.cli.video.optical_flow import find_motion
from jaxstyle.cli.video.shots import Shot, divide
from jaxstyle.cli.video.video_options import VideoOptions
from jaxstyle.files.image_files import to_8_bit
from jaxstyle.files.video_reader import Frame
from jaxstyle.images.arrays import fit_size
from jaxstyle.scaling.memory import check_memory
from jaxstyle.video.frames import blend

Pixels = UInt8[np.ndarray, "h w 3"]


@dataclass
class FilmPainter:
    """Paints the frames of a film in a style.

    Attributes:
        film: what is read.
        style: what it is painted like.
        options: those of the command.
        paint: stylizes frames.
        shots, count, end: how many shots have begun, how many frames were read, and
            when the last one ends, in seconds.
        picture: the last picture, as it is before it is brought to full size.
    """

    film: Film
    style: Style
    options: VideoOptions
    paint: painting.Painter
    shots: int = 0
    count: int = 0
    end: Fraction = Fraction(0)
    picture: Picture | None = None
    _hold: Any = field(default=None, init=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        longest = self.options.size
        if longest is None or longest >= max(self.film.size):
            return self.film.size
        return fit_size(self.film.size, longest)

    @property
    def painted_size(self) -> tuple[int, int]:
        """Height and width in which frames are painted."""
        smallest = self.style.network.smallest_side
        stroke_size = self.options.stroke_size
        return painted_size(self.size, stroke_size=stroke_size, smallest=smallest)

    def paint_film(self, *, skipped: int = 0) -> Iterator[Frame]:
        """Yield the pictures of all frames but some first ones.

        If there are such, `picture` is that of the last of them.
        """
        frames = self._watch(self.film.read())
        for shot in self._divide():
            self.shots += 1
            own = islice(frames, shot.length)
            passed_over = min(skipped, shot.length)
            before = deque(islice(own, passed_over), maxlen=1)
            skipped -= passed_over
            if passed_over < shot.length:
                style = self.hold(shot.samples)
                yield from self._paint_shot(style, own, [*before])

    def paint_stills(self, numbers: Collection[int]) -> Iterator[Pixels]:
        """Yield the pictures of some frames, by the statistics of their shots.

        The frames before are not blended in.
        """
        frames = enumerate(self.film.read())
        for shot in self._divide():
            own = islice(frames, shot.length)
            chosen = [frame.pixels for number, frame in own if number in numbers]
            if not chosen:
                continue
            style = self.hold(shot.samples)
            for pixels in chosen:
                small = _resize(pixels, size=self.painted_size)
                (picture,) = self.paint_frames(style, [small])
                yield self.finish(_resize(pixels, size=self.size), small, picture)

    def hold(self, samples: Sequence[Pixels]) -> Style:
        """Make of the style one fixed function, by the statistics of some frames."""
        if self.style.network.hold is None:
            return self.style
        images = np.stack([np.divide(x, 255, dtype=np.float32) for x in samples])
        with self._explained():
            if self._hold is None:
                jitted = jax.jit(self.style.network.hold)
                self._hold = jitted.lower(self.style.params, images).compile()
                check_memory(self._hold)
            held = self._hold(self.style.params, images)
        return self.style._replace(params=held)

    def paint_frames(self, style: Style, images: Sequence[Pixels]) -> list[Picture]:
        """Paint frames, each by itself, in the size in which they are painted."""
        count = self.options.devices or 1
        floats = [np.divide(x, 255, dtype=np.float32) for x in images]
        floats += floats[-1:] * (count - len(floats))
        with self._explained():
            painted = self.paint(style, painting.Batch((), np.stack(floats), None))
            return list(np.asarray(painted)[: len(images)])

    def finish(self, pixels: Pixels, small: Pixels, picture: Picture) -> Pixels:
        """Bring a picture to the size of its frame, with 8 bits."""
        if pixels.shape == picture.shape:
            return to_8_bit(picture)
        photo = np.divide(small, 255, dtype=np.float32)
        finish = painting.choose_finish(self.options)
        return restore_size(pixels, photo, picture, finish)

    def _divide(self) -> Iterator[Shot]:
        """Divide the film into shots, in the size in which frames are painted."""
        shrink = partial(_resize, size=self.painted_size)
        return divide(shrink(frame.pixels) for frame in self.film.read())

    def _paint_shot(
        self, style: Style, frames: Iterator[Frame], before: Sequence[Frame]
    ) -> Iterator[Frame]:
        shrink = partial(_resize, size=self.painted_size)
        last = shrink(before[-1].pixels) if before else None
        while batch := list(islice(frames, self.options.devices or 1)):
            small = [shrink(frame.pixels) for frame in batch]
            pictures = self.paint_frames(style, small)
            for frame, pixels, painted in zip(batch, small, pictures, strict=True):
                picture = painted
                if self.options.blend and last is not None:
                    picture = self._blend(painted, pixels, last)
                self.picture, last = picture, pixels
                resized = _resize(frame.pixels, size=self.size)
                yield frame._replace(pixels=self.finish(resized, pixels, picture))

    def _watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self.count, self.end = self.count + 1, frame.start + frame.duration
            yield frame

    def _blend(
        self, painted: Picture, pixels: Pixels, before: Pixels
    ) -> Float[np.ndarray, "h w 3"]:
        motion, share = find_motion(pixels, before), self.options.blend
        return np.asarray(_blend(painted, self.picture, motion, share=share))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with runtime.explain_lack_of_memory(
            what=str(self.film.path), advice="use a smaller --size"
        ):
            yield


_blend = jax.jit(blend)


def _resize(pixels: Pixels, *, size: tuple[int, int]) -> Pixels:
    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
