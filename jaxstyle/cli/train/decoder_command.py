"""The program behind ``scripts/train_decoder.py``: steps, measurements, checkpoints."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jaxstyle.cli.main import Parser, report
from jaxstyle.cli.options import add_options, read_options
from jaxstyle.cli.runtime import (
    NotFiniteError,
    catch_interrupts,
    check_finite,
    make_say,
    use_compilation_cache,
)
from jaxstyle.cli.train import decoder_run
from jaxstyle.files.checkpoints import save_checkpoint
from jaxstyle.files.image_files import save_image
from jaxstyle.files.param_files import save_params
from jaxstyle.files.run_log import RunLog
from jaxstyle.files.transport_files import save_decoder
from jaxstyle.files.vgg_files import load_vgg
from jaxstyle.transport.decoder_steps import (
    Metrics,
    Schedule,
    State,
    draw_level,
    encode_photos,
    train_blocks,
    train_chain,
)
from jaxstyle.transport.encoder import LEVELS

LOGGED = 10
"""The number of steps whose metrics are averaged; checkpoints come after a multiple."""

SECONDS = 300.0
"""The longest time without a checkpoint."""

TRAINED = (5, 4, 3)
"""The levels whose blocks every step trains."""

ALSO, RARELY = 2, 4
"""A level whose block is trained too, and after how many steps: it is nearly linear."""

CHAINS = (5, 4, 3)
"""The levels at which chains start."""

RATES = {"blocks": (5e-4, 1e-5), "chain": (1e-4, 1e-6)}
"""The learning rates at the start and at the end of the stages."""

GROUP = 4
"""The number of batches of crops that are encoded at once."""

Advance: TypeAlias = Callable[[State, int], tuple[State, Metrics]]
"""Makes the step of a number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = Parser(
        prog="train_decoder",
        description="Train the decoder that turns features into pictures.",
    )
    add_options(parser, decoder_run.DecoderOptions)
    options = read_options(decoder_run.DecoderOptions, vars(parser.parse_args(argv)))
    return report(parser.prog, lambda: run_training(options))


def run_training(options: decoder_run.DecoderOptions) -> int:
    """Train a stage to its end, or for some hours; return the exit code."""
    use_compilation_cache()
    run = decoder_run.open_run(options, load_vgg(), say=make_say(quiet=options.quiet))
    train(run, decoder_run.find_start(run))
    return 0


def train(run: decoder_run.Run, state: State) -> None:
    """Make steps to the end, to an interrupt, or until the time is over.

    A NotFiniteError names a metric; no checkpoint holds what came of it.
    """
    make_advance = {"blocks": blocks_advance, "chain": chain_advance}
    advance = make_advance[run.options.stage](run)
    began = saved = time.monotonic()
    recent: list[Metrics] = []
    step, steps = int(state.step), run.options.steps
    with catch_interrupts() as interrupts, RunLog(run.folder, step=step) as log:
        if step == 0:
            evaluate(run, state, log)
            save(run, state, log)
        while step < steps:
            state, metrics = advance(state, step)
            step += 1
            recent.append(metrics)
            if step % LOGGED and step < steps:
                continue
            log.write(step, average(recent, step))
            recent.clear()
            now = time.monotonic()
            over = interrupts.received or now - began > 3600 * run.options.hours
            if step == steps or step % run.options.evaluate_every == 0:
                evaluate(run, state, log)
            if over or step == steps or time.monotonic() - saved > SECONDS:
                save(run, state, log)
                saved = time.monotonic()
            if over:
                break
    if step == steps:
        save_params(state.params, run.folder / decoder_run.FINAL, metadata={})


def average(recent: Sequence[Metrics], step: int) -> dict[str, float]:
    """Average each metric over the steps that have it; a NotFiniteError names one."""
    found: dict[str, list[float]] = {}
    for metrics in jax.device_get(list(recent)):
        for name, value in metrics.items():
            found.setdefault(name, []).append(float(value))
    means = {name: float(np.mean(values)) for name, values in sorted(found.items())}
    for name, value in means.items():
        if not np.isfinite(value):
            raise NotFiniteError(f"the loss {name}", step)
    return means


def evaluate(run: decoder_run.Run, state: State, log: RunLog) -> None:
    """Measure a decoder, and write it and its pictures."""
    options, step = run.options, int(state.step)
    measures, sheet = run.judge.measure(state.params)
    log.write(step, measures)
    save_image(sheet, run.folder / decoder_run.SHEET)
    ratios = [f"{measures[f'psnr{level + 1}']:.2f}" for level in range(len(LEVELS))]
    run.say(f"step {step}: PSNR {' '.join(ratios)} dB from {', '.join(LEVELS)}")
    metadata = {
        "stage": options.stage,
        "step": str(step),
        "steps": str(options.steps),
        "width": f"{options.width:g}",
        "photographs": str(len(run.album.names)),
        "psnr": " ".join(ratios),
    }
    save_decoder(
        state.params, Path(options.out, decoder_run.DECODER), metadata=metadata
    )


def save(run: decoder_run.Run, state: State, log: RunLog) -> None:
    """Write a checkpoint, or raise a NotFiniteError if the state is not finite."""
    check_finite(state)
    log.sync()
    save_checkpoint(run.folder / decoder_run.CHECKPOINTS, state, run.configuration)


# --- steps --------------------------------------------------------------------------


def blocks_advance(run: decoder_run.Run) -> Advance:
    """Make the steps that train each block alone."""
    encode = partial(jax.jit(encode_photos), run.vgg)
    maps_of = make_replay(run.draw, encode, echo=run.options.echo)
    step = _jit_step(run, train_blocks, static="levels")

    def advance(state: State, number: int) -> tuple[State, Metrics]:
        levels = TRAINED if number % RARELY else (*TRAINED, ALSO)
        chosen = choose(number, batch=run.options.batch, seed=run.options.seed)
        return step(state, maps_of(number), chosen, levels=levels)

    return advance


def chain_advance(run: decoder_run.Run) -> Advance:
    """Make the steps that train all blocks as one."""
    step = _jit_step(run, train_chain, static="level")

    def advance(state: State, number: int) -> tuple[State, Metrics]:
        level = draw_level(CHAINS, seed=run.options.seed, step=number)
        return step(state, run.draw(number), run.vgg, level=level)

    return advance


def _jit_step(run: decoder_run.Run, step: Callable[..., Any], *, static: str) -> Any:
    schedule = Schedule(run.options.steps, *RATES[run.options.stage])
    scheduled = partial(step, schedule=schedule)
    return jax.jit(scheduled, static_argnames=static, donate_argnums=0)


def make_replay(
    draw: Callable[[int], np.ndarray],
    encode: Callable[[np.ndarray], Sequence[jax.Array]],
    *,
    echo: int,
) -> Callable[[int], list[jax.Array]]:
    """Make features that serve several steps: encoding takes longer than a step.

    Crops come in groups of `GROUP` batches, which are encoded once. The steps of a
    group go over its crops ``echo`` times, each time in another order; see `choose`.

    Source: Choi et al. (2019), "Faster neural network training with data echoing", who
    repeat what comes out of any slow part.

    Args:
        draw: draws the crops of a number.
        encode: computes their features, from pixels on.
        echo: the number of times that each group is used.

    Returns:
        ``maps_of(step)``, the features of the group of a step.
    """
    held: dict[int, list[jax.Array]] = {}

    def maps_of(step: int) -> list[jax.Array]:
        group = step // (GROUP * echo)
        if group not in held:
            held.clear()  # before the next ones take memory
            numbers = range(group * GROUP, (group + 1) * GROUP)
            parts = [encode(draw(number)) for number in numbers]
            held[group] = [jnp.concatenate(maps) for maps in zip(*parts, strict=True)]
        return held[group]

    return maps_of


def choose(step: int, *, batch: int, seed: int) -> Int[np.ndarray, " batch"]:
    """Choose the crops of its group that a step takes."""
    turn, place = divmod(step, GROUP)
    order = np.random.default_rng([seed, 3, turn]).permutation(batch * GROUP)
    return order[place * batch : (place + 1) * batch]
