"""``jaxstyle optimize``: files in, a picture out, with progress on the way."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.typing import ArrayLike
from tqdm import tqdm

from jaxstyle import gatys, vgg
from jaxstyle.commands.interrupts import catch_interrupts
from jaxstyle.commands.optimize_inputs import (
    Inputs,
    check_arguments,
    choose_settings,
    load_inputs,
    make_optimizer,
    numbered,
)
from jaxstyle.commands.runtime import (
    explain_lack_of_memory,
    make_say,
    use_compilation_cache,
    versions,
)
from jaxstyle.image_files import save_image
from jaxstyle.perceptual import Metrics, Weights, make_targets
from jaxstyle.presets import Preset

CAPACITY = 50
"""The most steps that are made without a word from the device."""

SECONDS_PER_CALL = 0.5
"""About how long the device is left alone, once it is known how fast it is."""

Run = Callable[[gatys.State, gatys.Problem, ArrayLike], tuple[gatys.State, Metrics]]


def run(arguments: argparse.Namespace) -> int:
    """Make the picture; return the exit code."""
    what = f"--size {arguments.size}"
    with explain_lack_of_memory(what=what, advice="use a smaller one"):
        return make_picture(arguments)


def make_picture(arguments: argparse.Namespace) -> int:
    """Read the files, compile, and optimise; return the exit code."""
    preset = choose_settings(arguments)
    check_arguments(arguments, steps=preset.steps)
    optimizer = make_optimizer(preset.optimizer, arguments.learning_rate)
    inputs = load_inputs(arguments, preset)
    use_compilation_cache()
    say = make_say(quiet=arguments.quiet)
    height, width, _ = inputs.content.shape
    say(f"compiling for {width}x{height} pixels on {jax.devices()[0].device_kind} ...")
    started = time.perf_counter()
    state, problem, run_steps = compile_run(
        inputs, preset, optimizer, style_weights=arguments.blend
    )
    say(f"compiled in {time.perf_counter() - started:.1f} s")
    record = {"arguments": vars(arguments), "preset": asdict(preset)} | versions()
    return optimize(
        run_steps,
        state,
        problem,
        steps=preset.steps,
        arguments=arguments,
        record=record,
    )


# --- the program --------------------------------------------------------------------


def compile_run(
    inputs: Inputs,
    preset: Preset,
    optimizer: optax.GradientTransformation,
    *,
    style_weights: list[float] | None,
) -> tuple[gatys.State, gatys.Problem, Run]:
    """Compute the targets; return the first state, the problem, and compiled steps.

    The steps reuse the memory of the state that they are given.
    """
    weights = Weights(preset.content, preset.style, preset.total_variation)
    params = inputs.params
    if jax.default_backend() == "cpu":
        params = jax.jit(vgg.prepare_for_cpu)(params)
    targets = jax.jit(
        partial(make_targets, style_weights=style_weights, pooling=preset.pooling)
    )(params, inputs.content, inputs.styles, weights)
    problem = gatys.Problem(jax.device_put(params), targets, weights)
    state = jax.jit(partial(gatys.init_state, optimizer=optimizer))(inputs.init)
    step = gatys.make_step(optimizer, pooling=preset.pooling)
    run_steps = partial(gatys.run_steps, step, capacity=CAPACITY)
    compiled = jax.jit(run_steps, donate_argnums=0).lower(state, problem, 1).compile()
    return state, problem, compiled


# --- the loop -----------------------------------------------------------------------


def drive(
    run_steps: Run,
    start: gatys.State,
    problem: gatys.Problem,
    *,
    steps: int,
    save_every: int,
) -> Iterator[tuple[gatys.State, np.ndarray]]:
    """Yield the state and the losses since the last one, until the steps are made.

    The device makes as many steps in one call as take about `SECONDS_PER_CALL`, and
    stops at every multiple of ``save_every``. A loss that is not finite ends it.
    """
    state, count, done, finite = start, 1, 0, True
    while done < steps and finite:
        count = min(count, steps - done, save_every - done % save_every)
        started = time.perf_counter()
        state, history = run_steps(state, problem, count)
        made = int(state.step) - done  # waits for the device
        pace = made / (time.perf_counter() - started)
        losses = np.asarray(history["loss"])[:made]
        finite = bool(np.isfinite(losses[-1]))
        done += made
        yield state, losses
        count = max(1, min(int(SECONDS_PER_CALL * pace), CAPACITY))


def optimize(
    run_steps: Run,
    start: gatys.State,
    problem: gatys.Problem,
    *,
    steps: int,
    arguments: argparse.Namespace,
    record: Mapping[str, Any],
) -> int:
    """Run to the end, to an interrupt or to a loss that is not finite, and save."""
    save_every = arguments.save_every or steps
    with (
        catch_interrupts() as interrupts,
        tqdm(total=steps, unit="step", disable=arguments.quiet) as bar,
    ):
        for state, losses in drive(
            run_steps, start, problem, steps=steps, save_every=save_every
        ):
            bar.update(len(losses))
            bar.set_postfix(loss=f"{losses[-1]:.4g}")
            step = int(state.step)
            if step % save_every == 0 and step < steps and np.isfinite(losses[-1]):
                save(state, numbered(arguments.output, step), record)
            if interrupts.received:
                break
    if not np.isfinite(losses[-1]):
        return _report_not_finite(state, arguments.output, record)
    save(state, arguments.output, record)
    print(f"{arguments.output}: {step} steps, loss {float(state.best_loss):.5g}")
    if step < steps:
        print(f"interrupted after step {step} of {steps}", file=sys.stderr)
        return 130
    return 0


def save(state: gatys.State, path: str | Path, record: Mapping[str, Any]) -> None:
    """Write the best picture so far with its settings."""
    result = {"steps": int(state.step), "loss": float(state.best_loss)}
    save_image(state.best, path, settings={**record, "result": result})


def _report_not_finite(
    state: gatys.State, output: str, record: Mapping[str, Any]
) -> int:
    """Keep the last good picture, if there is one, and say so; return 1."""
    message = f"the loss is not finite at step {int(state.step)}"
    if np.isfinite(state.best_loss):
        save(state, output, record)
        message += f"; {output} is the best picture before it"
    print(f"jaxstyle optimize: error: {message}", file=sys.stderr)
    return 1
