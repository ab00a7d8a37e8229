"""Compare trained nets with optimization of the same objective, on held-out photos.

    python scripts/compare_nets.py --photos FOLDER --paintings FOLDER [STYLE ...]

The objective of each net is read from its file. Optimization starts from the photo and
takes one evaluation of the loss and its gradient for an iteration; the lowest loss so
far counts. All losses are means over the photos, of pictures that are not clipped, as
in training. The ratio is that of the net's loss to the last one of the optimization.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from net_losses import Comparison, Programs, compare, make_problem
from trained_nets import (
    Net,
    add_arguments,
    load_nets,
    load_photos,
    positive_int,
    print_table,
)

from jaxstyle.files import make_sheet, save_image

AT = (50, 100)
"""After how many iterations the loss is shown, beside the last."""

PARTS = ("loss", "content", "style")


def summarize(net: Net, found: Sequence[Comparison]) -> dict[str, str]:
    """Return the row of a net, by column: means over photos."""
    iterations = len(found[0].optimized["loss"])
    counts = [*(count for count in AT if count < iterations), iterations]
    mine = {name: _mean(each.net[name] for each in found) for name in PARTS}
    best = {
        count: {
            name: _mean(_lowest(each.optimized, count)[name] for each in found)
            for name in PARTS
        }
        for count in counts
    }
    last = best[iterations]["loss"]
    ratios = [
        each.net["loss"] / _lowest(each.optimized, iterations)["loss"] for each in found
    ]
    return {
        "style": net.name,
        "photos": str(len(found)),
        "net": f"{mine['loss']:.3f}",
        **{f"{count} iterations": f"{best[count]['loss']:.3f}" for count in counts},
        "ratio": f"{mine['loss'] / last:.2f}",
        "worst ratio": f"{max(ratios):.2f}",
        "net: content + style": _sum(mine),
        f"{iterations} iterations: content + style": _sum(best[iterations]),
    }


def save_sheet(found: Sequence[Comparison], path: Path) -> None:
    """Write rows of a photo, what the net makes of it, and what optimization does."""
    labels = ("photo", "net", f"{len(found[0].optimized['loss'])} iterations")
    save_image(
        make_sheet([each.pictures for each in found], column_labels=labels), path
    )


def compare_all(
    nets: Sequence[Net], arguments: argparse.Namespace
) -> Iterator[dict[str, str]]:
    """Yield the row of each net, and write the sheets that are asked for."""
    programs, folder = Programs(), arguments.pictures
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    for net in nets:
        photos, problem = load_photos(net, arguments), make_problem(net)
        found = [
            compare(programs, net, problem, photo, iterations=arguments.iterations)
            for photo in photos
        ]
        if folder:
            save_sheet(found, folder / f"{net.name}.png")
        yield summarize(net, found)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Compare nets with optimization.")
    add_arguments(parser, count=4, size=256)
    add = parser.add_argument
    add("--iterations", type=positive_int, default=300)
    add("--pictures", type=Path, metavar="FOLDER", help="write a sheet for each style")
    arguments = parser.parse_args(argv)
    try:
        print_table(compare_all(load_nets(arguments), arguments))
    except (OSError, ValueError) as error:
        print(f"compare_nets: error: {error}", file=sys.stderr)
        return 2
    return 0


def _lowest(
    losses: Mapping[str, Float[np.ndarray, " iterations"]], count: int
) -> dict[str, float]:
    """Return the loss and its parts where it was lowest in the first iterations."""
    at = np.nanargmin(losses["loss"][:count])
    return {name: float(values[at]) for name, values in losses.items()}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _sum(losses: Mapping[str, float]) -> str:
    return f"{losses['content']:.3f} + {losses['style']:.3f}"


if __name__ == "__main__":
    sys.exit(main())
