"""The program behind ``scripts/train_decoder.py``: steps, measurements, checkpoints."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from jaxstyle.cli.main import Parser, report
from jaxstyle.cli.options import add_options, read_options
from jaxstyle.cli.runtime import (
    NotFiniteError,
    catch_interrupts,
    check_finite,
    make_say,
    use_compilation_cache,
)
from jaxstyle.cli.train.decoder_run import (
    CHECKPOINTS,
    DecoderOptions,
    Run,
    find_start,
    open_run,
)
from jaxstyle.files.checkpoints import save_checkpoint
from jaxstyle.files.figures import make_sheet
from jaxstyle.files.image_files import save_image
from jaxstyle.files.param_files import save_params
from jaxstyle.files.run_log import RunLog
from jaxstyle.files.transport_files import save_decoder
from jaxstyle.files.vgg_files import load_vgg
from jaxstyle.transport.decoder import Params
from jaxstyle.transport.decoder_steps import Metrics, State, reconstruct, train_pass
from jaxstyle.transport.encoder import LEVELS

LOGGED = 10
"""The number of steps whose metrics are averaged; checkpoints come after a multiple."""

SECONDS = 300.0
"""The longest time without a checkpoint."""

DECODED, SHOWN = 4, 4
"""How many photographs are decoded at a time to measure, and how many on a sheet."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = Parser(
        prog="train_decoder",
        description="Train the decoder that turns features into pictures.",
    )
    add_options(parser, DecoderOptions)
    options = read_options(DecoderOptions, vars(parser.parse_args(argv)))
    return report(parser.prog, lambda: run_training(options))


def run_training(options: DecoderOptions) -> int:
    """Train to the end, or for some hours; return the exit code."""
    use_compilation_cache()
    run = open_run(options, load_vgg(), say=make_say(quiet=options.quiet))
    train(run, find_start(run))
    return 0


def train(run: Run, state: State) -> None:
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
            state, metrics = advance(state, *run.draw(step), run.vgg)
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
        save_params(state.params, run.folder / "final.safetensors", metadata={})


def average(recent: Sequence[Metrics], step: int) -> dict[str, float]:
    """Average each metric over steps; a NotFiniteError names one."""
    means: dict[str, float] = {}
    for name in sorted(recent[0]):
        means[name] = float(np.mean([float(metrics[name]) for metrics in recent]))
        if not np.isfinite(means[name]):
            raise NotFiniteError(f"the loss {name}", step)
    return means


def save(run: Run, state: State, log: RunLog) -> None:
    """Write a checkpoint, or raise a NotFiniteError if the state is not finite."""
    check_finite(state)
    log.sync()
    save_checkpoint(run.folder / CHECKPOINTS, state, run.configuration)


# --- measurements -------------------------------------------------------------------


def evaluate(run: Run, state: State, log: RunLog) -> None:
    """Measure a decoder, and write it and its pictures."""
    options, step = run.options, int(state.step)
    measures, sheet = measure(state.params, run.vgg, run.squares)
    log.write(step, measures)
    save_image(sheet, run.folder / "sheet.png")
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
    save_decoder(state.params, run.folder / "decoder.safetensors", metadata=metadata)


def measure(
    params: Params, vgg: Mapping[str, Any], squares: UInt8[np.ndarray, "n h w 3"]
) -> tuple[dict[str, float], Float[np.ndarray, "h w 3"]]:
    """Measure a decoder on photographs, and make a sheet of its pictures.

    ``psnr{k}`` is the mean over photographs of the peak signal-to-noise ratio of what
    is decoded from level k, in dB; ``explained{k}`` the share of the variance of level
    k - 1 that block k alone explains.
    """
    batches = np.split(squares, range(DECODED, len(squares), DECODED))
    parts = [jax.device_get(_reconstruct(params, vgg, batch)) for batch in batches]
    pictures, ratios, errors = (
        np.concatenate(found, 1) for found in zip(*parts, strict=True)
    )
    missed, variance = np.moveaxis(errors.mean(1), -1, 0)
    measures = {}
    for index in range(len(LEVELS)):
        measures[f"psnr{index + 1}"] = float(ratios[index].mean())
        measures[f"explained{index + 1}"] = float(1 - missed[index] / variance[index])
    originals = squares[:SHOWN] / np.float32(255)
    rows = [[photo, *pictures[:, i]] for i, photo in enumerate(originals)]
    return measures, make_sheet(rows, column_labels=["photo", *LEVELS])


_reconstruct = jax.jit(reconstruct)
