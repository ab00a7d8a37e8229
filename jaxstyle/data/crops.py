"""Encoded images to square crops, and a report of repaired and skipped records.

Color is treated for speed: embedded profiles and orientations of plain RGB images
are ignored. Other kinds of pixels go through `jaxstyle.files.image_pixels.to_srgb`.
"""

import io
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxstyle.data.sources import Record, Source
from jaxstyle.files.atomic import describe_error
from jaxstyle.files.image_decoding import load_pixels, open_image, room_for
from jaxstyle.files.image_pixels import to_srgb

MOST_PIXELS = 2**26
"""Images that would decode to more pixels are skipped."""

NAMES_LISTED = 5
"""The number of skipped records in a summary."""

ATTEMPTS = 100
"""The number of unusable records in a row at which a source is given up."""

_KINDS = {"L": "gray", "LA": "gray", "CMYK": "CMYK", "P": "palette", "RGBA": "alpha"}


class Report:
    """The repaired and skipped records, each counted once, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._repaired: dict[str, set[str]] = {}
        self._reasons: dict[str, str] = {}

    def repaired(self, name: str, kind: str) -> None:
        """Count a record of an odd kind that was used."""
        with self._lock:
            self._repaired.setdefault(kind, set()).add(name)

    def skipped(self, name: str, reason: str) -> None:
        """Count a record that cannot be used."""
        with self._lock:
            self._reasons.setdefault(name, reason)

    @property
    def counts(self) -> dict[str, int]:
        """The number of repaired records, by kind, and of ``skipped`` ones."""
        with self._lock:
            counts = {kind: len(names) for kind, names in self._repaired.items()}
            return dict(sorted(counts.items())) | {"skipped": len(self._reasons)}

    @property
    def reasons(self) -> dict[str, str]:
        """The reasons for which records were skipped, by name."""
        with self._lock:
            return dict(self._reasons)

    def summary(self) -> str:
        """Summarize the report in one line, or ``""`` if it is empty."""
        counts = self.counts
        skipped = counts.pop("skipped")
        parts = []
        if counts:
            kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            parts.append(f"repaired {kinds}")
        if skipped:
            listed = sorted(self.reasons.items())[:NAMES_LISTED]
            names = "; ".join(f"{name}: {reason}" for name, reason in listed)
            more = f"; and {skipped - len(listed)} more" * (skipped > len(listed))
            parts.append(f"skipped {skipped} ({names}{more})")
        return ", ".join(parts)


class Crop(NamedTuple):
    """A square of an image, resized to a shorter side in pixels.

    Its position ``(x, y)`` runs from (0, 0), top left, to (1, 1), bottom right.
    """

    shorter_side: int
    x: float
    y: float
    mirrored: bool


def decode(
    record: Record, crop: Crop, *, size: int, report: Report
) -> UInt8[np.ndarray, "size size 3"]:
    """Decode a crop of ``size`` pixels a side, antialiased.

    The crop's box in the image, of fractional pixels, is resampled by a triangle filter
    in one step. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that suffices.
    """
    from PIL import Image

    try:
        file = io.BytesIO(record.data)
        image = open_image(file)
        shorter = min(image.size)
        if 8 * shorter < size:
            raise ValueError(f"{image.width}x{image.height} pixels are far too few")
        factor = crop.shorter_side / shorter
        width, height = (max(1, round(side * factor)) for side in image.size)
        image.draft(None, (width, height))
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it has {image.width}x{image.height} pixels")
        with room_for(image, stored=len(record.data)):
            load_pixels(image, file)
            # Conversion would copy an image that is plain RGB already.
            plain = image.mode == "RGB" and not image.has_transparency_data
            picture = image if plain else to_srgb(image).colors
        kind = _KINDS.get(image.mode, image.mode)
    except Exception as error:  # damaged data make Pillow raise nearly every type
        raise ValueError(describe_error(error)) from error
    if kind != "RGB":
        report.repaired(record.name, kind)
    if shorter < size:
        report.repaired(record.name, "upscaled")
    width, height = picture.size
    side = min(width, height) * size / crop.shorter_side
    left, top = crop.x * (width - side), crop.y * (height - side)
    box = (left, top, min(left + side, width), min(top + side, height))
    square = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if crop.mirrored:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(square)


# --- requests -----------------------------------------------------------------------


class CropRequest(NamedTuple):
    """A record to decode, and the seed of its crop and of its replacements."""

    record: int
    seed: int


def draw_request(index: int, rng: np.random.Generator) -> CropRequest:
    """Draw the seed of a record's crop."""
    return CropRequest(index, int(rng.integers(2**63)))


class CropReader(NamedTuple):
    """A reader of crops, of ``size`` pixels a side, of a source.

    Images are resized to an inclusive range of the shorter side.
    """

    source: Source
    size: int
    shorter_side: tuple[int, int]
    report: Report

    def read_batch(
        self, requests: Sequence[CropRequest]
    ) -> UInt8[np.ndarray, "n size size 3"] | ValueError:
        """Read the crops of a batch; return the error if there can be none."""
        crops = np.empty((len(requests), self.size, self.size, 3), np.uint8)
        try:
            for crop, request in zip(crops, requests, strict=True):
                crop[:] = self.read(request)
        except ValueError as error:
            return error
        return crops

    def read(self, request: CropRequest) -> UInt8[np.ndarray, "size size 3"]:
        """Read a crop of a record, or of the first usable one drawn instead."""
        rng = np.random.default_rng(request.seed)
        (low, high), (x, y, turn) = self.shorter_side, rng.random(3)
        crop = Crop(int(rng.integers(low, high + 1)), x, y, bool(turn < 0.5))
        index = request.record
        for _ in range(ATTEMPTS):
            pixels = self.try_crop(index, crop)
            if pixels is not None:
                return pixels
            index = int(rng.integers(len(self.source)))
        raise ValueError(
            f"{ATTEMPTS} records of {self.source.name} in a row cannot be decoded: "
            f"{self.report.summary()}"
        )

    def try_crop(
        self, index: int, crop: Crop
    ) -> UInt8[np.ndarray, "size size 3"] | None:
        """Decode a crop of a record, or report the record."""
        try:
            record = self.source[index]
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            self.report.skipped(f"{self.source.name} record {index}", reason)
            return None
        try:
            return decode(record, crop, size=self.size, report=self.report)
        except ValueError as error:
            self.report.skipped(record.name, str(error))
            return None
