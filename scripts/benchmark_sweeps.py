"""Time pictures side by side under `jax.vmap` against one after the other.

    python scripts/benchmark_sweeps.py [--size 256] [--pictures 8] [--rounds 3]
        [--steps 8]

Each side runs in a process of its own, in turns: squares of the package's example
images, from noise of other seeds, with the loss and the optimizer of the preset
``default``, at one scale. A step is one of every picture. Printed are medians over all
rounds: milliseconds a step, the time to the end of the first one (nearly all of it
compilation, without the persistent cache), the peak memory above that with everything
loaded, and the mean of the losses at the end of a round.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
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
    sides = {"side by side": measure_vmap, "one after the other": measure_in_turn}
    compare(parser, sides)


def measure_vmap(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all pictures in one program."""
    return measure_batches(arguments, [range(arguments.pictures)])


def measure_in_turn(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one picture after the other."""
    return measure_batches(arguments, [[seed] for seed in range(arguments.pictures)])


def measure_batches(
    arguments: argparse.Namespace, batches: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Measure a step of all pictures, by the seeds of those in one program."""
    start = prepare(arguments.size)
    started: list[Steps] = []

    def step() -> float:
        if not started:
            started.extend(map(start, batches))
        losses = [loss for make_step in started for loss in make_step()]
        return sum(losses) / len(losses)

    return measure(step, arguments.steps)


def prepare(size: int) -> Callable[[Sequence[int]], Steps]:
    """Make the function that begins the pictures of some seeds in one program."""
    import jax
    import jax.numpy as jnp

    import jaxstyle
    from jaxstyle.losses import Problem, make_targets
    from jaxstyle.optimize import PRESETS, init_state, lbfgs, make_step, run_steps

    loss = PRESETS["default"].loss
    weights, optimizer = loss.weights(), lbfgs()
    content, style, _, _ = load_inputs(size)
    layers = (*loss.content, *loss.style)
    params = jaxstyle.vgg.truncate(jaxstyle.load_vgg(loss.vgg), layers)
    params = jaxstyle.vgg.normalize(params)
    if jax.default_backend() == "cpu":
        params = jax.jit(jaxstyle.vgg.prepare_for_cpu)(params)
    targets_of = jax.jit(partial(make_targets, objective=loss.objective()))
    targets = targets_of(params, content, [style], weights)
    problem = Problem(params, targets, weights)
    init = jax.jit(partial(init_state, optimizer=optimizer))
    advance = partial(run_steps, make_step(optimizer), capacity=1)
    alone = jax.jit(advance, donate_argnums=0)
    together = jax.jit(jax.vmap(advance, (0, None, None)), donate_argnums=0)

    def start(seeds: Sequence[int]) -> Steps:
        keys = [jax.random.key(seed) for seed in seeds]
        states = [init(jax.random.uniform(key, content.shape)) for key in keys]
        state, make = states[0], alone
        if len(states) > 1:
            state, make = jax.tree.map(lambda *x: jnp.stack(x), *states), together

        def make_one_step() -> list[float]:
            nonlocal state
            state, metrics = make(state, problem, 1)
            losses: list[float] = jnp.ravel(metrics["loss"]).tolist()
            return losses

        return make_one_step

    return start


if __name__ == "__main__":
    main()
