"""Time the input pipeline against plain Pillow on the same images, side by side.

    python scripts/benchmark_data.py DATA [--data-dir DIR] [--rounds 5] [--images 512]

DATA is a folder of images or a TFDS data set that is prepared. Both sides make the same
crops of 256 pixels a side, from a shorter side of 256 to 480 pixels, in batches of 4;
one side is `jaxstyle.data.make_batches`, the other one thread that decodes an
image with Pillow, converts it to RGB, and resamples the crop. They run in turns in one
process: first both on one core, then the pipeline on all. Printed are medians over the
rounds, in images a second. Cores are chosen as Linux lets a process do it. The images
are repeated up to the size of COCO, since grain takes longer to shuffle a few hundred.
"""

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from jaxstyle.data import Record, Source, make_batches, open_source

SIZE, BATCH, SEED = 256, 4, 0

SHORTER_SIDE = (256, 480)
"""The range of the shorter side, that of `jaxstyle.data.make_batches`."""

COCO = 82783


def main() -> None:
    """Run all rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--data-dir")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=512, help="images a round")
    arguments = parser.parse_args()
    source = Repeated(open_source(arguments.data, data_dir=arguments.data_dir))
    cores = os.sched_getaffinity(0)
    one = {max(cores)}
    sides: dict[str, tuple[set[int], Callable[[Source, int], None]]] = {
        "plain Pillow, 1 core": (one, run_pillow),
        "jaxstyle, 1 core": (one, run_pipeline),
        f"jaxstyle, {len(cores)} cores": (cores, run_pipeline),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.rounds + 1):  # the first one warms up
        for name, (used, run) in sides.items():
            os.sched_setaffinity(0, used)
            started = time.perf_counter()
            run(source, arguments.images)
            rates[name].append(arguments.images / (time.perf_counter() - started))
    print_table({name: values[1:] for name, values in rates.items()})


class Repeated:
    """A source repeated until it has as many images as COCO."""

    def __init__(self, source: Source) -> None:
        self.name, self.fingerprint = source.name, source.fingerprint
        self._source = source

    def __len__(self) -> int:
        """Return how many images there are."""
        return max(len(self._source), COCO)

    def __getitem__(self, index: int) -> Record:
        """Return one of them."""
        return self._source[index % len(self._source)]


def print_table(rates: dict[str, list[float]]) -> None:
    """Print medians, the spread, and the median of the rounds' ratios."""
    print("| side | images/s | lowest | highest | times plain Pillow |")
    print("|---|---|---|---|---|")
    plain = next(iter(rates.values()))
    for name, values in rates.items():
        ratios = [value / other for value, other in zip(values, plain, strict=True)]
        print(
            f"| {name} | {statistics.median(values):.0f} | {min(values):.0f} "
            f"| {max(values):.0f} | {statistics.median(ratios):.2f} |"
        )


def run_pipeline(source: Source, images: int) -> None:
    """Take the batches that hold so many images."""
    with closing(make_batches(source, size=SIZE, batch=BATCH, seed=SEED)) as batches:
        for _ in range(images // BATCH):
            next(batches)


def run_pillow(source: Source, images: int) -> None:
    """Decode, convert and crop so many images, one after the other."""
    from PIL import Image

    rng = np.random.default_rng(SEED)
    low, high = SHORTER_SIDE
    order = rng.integers(len(source), size=images)
    for start in range(0, images, BATCH):
        crops = []
        for index in order[start : start + BATCH]:
            data = io.BytesIO(source[int(index)].data)
            picture = Image.open(data).convert("RGB")
            side = min(picture.size) * SIZE / rng.integers(low, high + 1)
            x, y = rng.random(2) * (np.array(picture.size) - side)
            crop = picture.resize(
                (SIZE, SIZE), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side)
            )
            crops.append(np.asarray(crop))
        np.stack(crops)


if __name__ == "__main__":
    main()
