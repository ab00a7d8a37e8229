"""Time pictures side by side, as lanes of one program, against one after the other.

    python scripts/benchmark_sweeps.py [--size 256] [--pictures 8] [--rounds 3]
        [--steps 8]

Each side runs in a process of its own, in turns, with the programs of ``jaxstyle
optimize --sweep seed=...``: squares of the package's example images, from noise of
other seeds, with the loss and the optimizer of the preset ``default``, at one scale. A
step is one of every picture. Printed are medians over all rounds: milliseconds a step,
the time to the end of the first one (nearly all of it compilation, without the
persistent cache), the peak memory above that with everything loaded, and the mean of
the losses at the end of a round.
"""

import argparse
from collections.abc import Callable
from typing import Any

from benchmark_optimize import load_inputs
from benchmarking import compare, measure

Steps = Callable[[], list[float]]
"""Makes a step of the pictures of a batch; returns their losses."""


def main() -> None:
    """Run all rounds of both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="square images' side")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="timed steps a round")
    sides = {"side by side": measure_lanes, "one after the other": measure_in_turn}
    compare(parser, sides)


def measure_lanes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all pictures as lanes of one program."""
    return measure_batches(arguments, lanes=arguments.pictures)


def measure_in_turn(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one picture after the other."""
    return measure_batches(arguments, lanes=1)


def measure_batches(arguments: argparse.Namespace, *, lanes: int) -> dict[str, Any]:
    """Measure a step of all pictures, of which some are side by side."""
    start = prepare(arguments.size)
    seeds = range(arguments.pictures)
    batches: list[Steps] = []

    def step() -> float:
        if not batches:
            batches.extend(start(seeds[i : i + lanes]) for i in seeds[::lanes])
        losses = [loss for make_step in batches for loss in make_step()]
        return sum(losses) / len(losses)

    return measure(step, arguments.steps)


def prepare(size: int) -> Callable[[range], Steps]:
    """Return what gets ready to make the pictures of some seeds side by side."""
    import jax
    import numpy as np

    import jaxstyle
    from jaxstyle.cli.optimize import scale_programs, scale_states
    from jaxstyle.cli.optimize.lanes import stack
    from jaxstyle.cli.optimize.optimize_settings import make_method
    from jaxstyle.cli.optimize.scene_inputs import Inputs
    from jaxstyle.cli.settings import load_params
    from jaxstyle.optimize import inits
    from jaxstyle.optimize.scenes import Scene

    settings = jaxstyle.optimize.PRESETS["default"]
    content, style, _, _ = load_inputs(size)
    scene = Scene(content, [style])
    params = load_params(settings.loss)
    first = Inputs(content, scene, (size,), 1.0, content, False, params)
    weights = settings.weights()
    method = make_method(settings)
    programs = scale_programs.make_programs(
        first,
        method,
        scale_programs.prepare(params),
        weights,
        ends=(settings.steps,),
        blend=None,
    )

    def start(seeds: range) -> Steps:
        lanes = len(seeds)
        images = [inits.noise(content, [style], jax.random.key(n)) for n in seeds]
        program = programs[0, lanes]
        state = scale_states.init_states(method, program.layout, stack(images), lanes)
        problem = program.make_problem([scene] * lanes, stack([weights] * lanes))
        count = scale_programs.count_steps(1, np.ones(lanes, bool))

        def make_step() -> list[float]:
            nonlocal state
            state, history = program.run_steps(state, problem, count)
            losses: list[float] = np.atleast_2d(history["loss"])[:, 0].tolist()
            return losses

        return make_step

    return start


if __name__ == "__main__":
    main()
