"""Compare coarse-to-fine optimization with one scale, after as many evaluations.

    python scripts/compare_schedules.py --output FOLDER PHOTO:PAINTING [...]

Every picture is made by ``jaxstyle optimize`` with its default loss. The table has the
loss of the pictures at full size; FOLDER gets them, and a sheet for each pair.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from jaxstyle.cli.main import main as jaxstyle
from jaxstyle.files import load_image, load_settings, make_sheet, save_image

SCHEDULES = {
    "default": (),
    "one scale, L-BFGS": ("--optimizer", "lbfgs", "--keep", "best"),
    "one scale, Adam": ("--optimizer", "adam", "--keep", "best"),
}
"""What is compared, and its options beside that of one scale."""


def compare(
    photo: Path, painting: Path, folder: Path, options: list[str], *, size: int
) -> dict[str, float]:
    """Return the loss of every schedule's picture; write them and their sheet."""
    losses, pictures = {}, []
    for number, (name, chosen) in enumerate(SCHEDULES.items()):
        one_scale = ("--coarsest", str(size)) if chosen else ()
        output = folder / f"{photo.stem}_{painting.stem}_{number}.png"
        command = ["optimize", str(photo), str(painting), "-o", str(output)]
        code = jaxstyle([*command, "--quiet", *options, *one_scale, *chosen])
        if code != 0:
            raise SystemExit(code)
        result: dict[str, float] = load_settings(output)["result"]  # type: ignore[assignment]
        losses[name] = result["loss"]
        pictures.append(load_image(output))
    sheet = make_sheet([pictures], column_labels=tuple(SCHEDULES))
    save_image(sheet, folder / f"{photo.stem}_{painting.stem}.png")
    return losses


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Compare schedules.")
    add = parser.add_argument
    add("pairs", nargs="+", metavar="PHOTO:PAINTING")
    add("--output", type=Path, required=True, metavar="FOLDER")
    add("--size", type=int, default=512)
    add("--steps", type=int, default=300)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    options = ["--size", str(arguments.size), "--steps", str(arguments.steps)]
    print(f"| {' | '.join(('pair', *SCHEDULES))} |")
    print("|---" * (1 + len(SCHEDULES)) + "|")
    ratios = []
    for pair in arguments.pairs:
        photo, painting = map(Path, pair.split(":"))
        folder, size = arguments.output, arguments.size
        losses = compare(photo, painting, folder, options, size=size)
        values = np.array(list(losses.values()))
        ratios.append(values / values[0])
        row = (f"{photo.stem}, {painting.stem}", *(f"{value:.3f}" for value in values))
        print(f"| {' | '.join(row)} |", flush=True)
    means = np.exp(np.log(ratios).mean(0))
    print(f"| geometric mean | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
