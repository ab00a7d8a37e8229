"""The program behind ``scripts/train_decoder.py``: steps, measurements, checkpoints."""

import time
from collections.abc import Sequence
from functools import partial

import jax
import numpy as np

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
from jaxstyle.transport.decoder_steps import Metrics, State, train_pass
from jaxstyle.transport.encoder import LEVELS

LOGGED = 10
"""The number of steps whose metrics are averaged; checkpoints come after a multiple."""

SECONDS = 300.0
"""The longest time without a checkpoint."""


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
    """Train to the end, or for some hours; return the exit code."""
    use_compilation_cache()
    run = decoder_run.open_run(options, load_vgg(), say=make_say(quiet=options.quiet))
    train(run, decoder_run.find_start(run))
    return 0


def train(run: decoder_run.Run, state: State) -> None:
    """Make steps to the end, to an interrupt, or until the time is over.

    A NotFiniteError names a metric; no checkpoint holds what came of it.
    """
    advance = jax.jit(partial(train_pass, optimizer=run.optimizer), donate_argnums=0)
    began = saved = time.monotonic()
    recent: list[Metrics] = []
    step, steps = int(state.step), run.options.steps
    with catch_interrupts() as interrupts, RunLog(run.folder, step=step) as log:
        if step == 0:
            evaluate(run, state, log)
            save(run, state, log)
        while step < steps:
            crops = run.draw(step), run.draw_painting(step)
            state, metrics = advance(state, *crops, run.vgg)
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
        "step": str(step),
        "steps": str(options.steps),
        "width": f"{options.width:g}",
        "photographs": str(len(run.album.names)),
        "paintings": str(len(run.paintings.names)),
        "psnr": " ".join(ratios),
    }
    save_decoder(state.params, run.folder / decoder_run.DECODER, metadata=metadata)


def save(run: decoder_run.Run, state: State, log: RunLog) -> None:
    """Write a checkpoint, or raise a NotFiniteError if the state is not finite."""
    check_finite(state)
    log.sync()
    save_checkpoint(run.folder / decoder_run.CHECKPOINTS, state, run.configuration)
