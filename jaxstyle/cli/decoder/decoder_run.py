"""A training of a decoder as it runs: steps, and what is done on the way.

The folder of a run gets::

    photos/              all photographs as raw pixels
    blocks/, chain/      of each stage: checkpoints, metrics.jsonl, sheet.png
    decoder.safetensors  the decoder at its last evaluation

A run that was killed goes on from its newest checkpoint exactly as if it had not been.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.cli.decoder.photo_album import (
    Album,
    center_squares,
    draw_crops,
    hold_out,
    open_album,
    prepare_album,
)
from jaxstyle.cli.decoder.reconstructions import Judge
from jaxstyle.cli.decoder.replay import Plan, Replay
from jaxstyle.cli.runtime import catch_interrupts
from jaxstyle.files.checkpoints import (
    find_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from jaxstyle.files.decoder_files import save_decoder
from jaxstyle.files.image_files import save_image
from jaxstyle.files.param_files import (
    check_params,
    digest_params,
    load_params,
    save_params,
)
from jaxstyle.files.run_log import RunLog
from jaxstyle.transport.closed_form import fit_decoder
from jaxstyle.transport.decoder import hidden_channels, init_decoder
from jaxstyle.transport.decoder_steps import (
    Metrics,
    Schedule,
    State,
    draw_level,
    encode_photos,
    init_state,
    train_blocks,
    train_chain,
)
from jaxstyle.transport.encoder import LEVELS
from jaxstyle.vgg import params as vgg_params

STAGES = ("blocks", "chain")

CHECKPOINTS, SHEET, DECODER = "checkpoints", "sheet.png", "decoder.safetensors"

FINAL = "final.safetensors"
"""The parameters at the end of a stage, in float32."""

LOGGED = 10
"""Over how many steps metrics are averaged; checkpoints come after a multiple."""

SECONDS = 300.0
"""How long to go on without a checkpoint."""

HELD_OUT, SQUARE = 24, 256
"""How many photographs are measured on, and the side of their squares, in pixels."""

TRAINED = (5, 4, 3)
"""The levels whose blocks every step trains."""

ALSO, RARELY = 2, 4
"""A level whose block is trained too, and after how many steps: it is nearly linear."""

CHAINS = (5, 4, 3)
"""The levels at which chains start."""

RATES = {"blocks": (5e-4, 1e-5), "chain": (1e-4, 1e-6)}
"""The learning rates at the start and at the end of the stages."""

FITTED = {"batch": 8, "crop": 256}
"""The crops from which a decoder is fitted in closed form."""

SAMPLES = 2048
"""How many positions are taken of a level and a batch, for the closed form."""

Advance: TypeAlias = Callable[[State, int], tuple[State, Metrics]]
"""Makes the step of a number."""

Say: TypeAlias = Callable[[str], None]


class Settings(NamedTuple):
    """What shapes the numbers of a run.

    Attributes:
        stage: one of `STAGES`.
        steps: how many there are in the stage.
        batch: the crops of a step.
        crop: their side in pixels.
        width: the channels within blocks as a share of those that they return.
        echo: how often crops are gone over once they are encoded.
        fitted: the batches from which the closed form is computed.
        seed: of all that is random.
    """

    stage: str
    steps: int
    batch: int
    crop: int
    width: float
    echo: int
    fitted: int
    seed: int

    def schedule(self) -> Schedule:
        """Return the learning rates of the stage."""
        return Schedule(self.steps, *RATES[self.stage])


class Run(NamedTuple):
    """All that stays the same while a decoder is trained.

    Attributes:
        folder: of the run.
        vgg: parameters, normalized and prepared.
        album: the photographs to train on.
        judge: those to measure on.
        settings: of the run.
        every: after how many steps a decoder is measured.
        say: what tells the user how things go.
    """

    folder: Path
    vgg: Mapping[str, Any]
    album: Album
    judge: Judge
    settings: Settings
    every: int
    say: Say

    @property
    def stage_folder(self) -> Path:
        """Return the folder of the stage."""
        return self.folder / self.settings.stage


class NotFiniteError(ValueError):
    """A metric or a part of the state is not finite."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} is not finite at step {step}")


def open_run(
    folder: Path,
    photos: Sequence[Path],
    vgg: Mapping[str, Any],
    settings: Settings,
    *,
    every: int,
    say: Say,
) -> Run:
    """Read what a run needs, and decode the photographs if it is new.

    Raises:
        ValueError: there are no photographs, or they are not those of the run.
    """
    (folder / settings.stage).mkdir(parents=True, exist_ok=True)
    smallest = max(SQUARE, settings.crop)
    for note in prepare_album(photos, folder / "photos", smallest=smallest):
        say(f"left out: {note}")
    album, unseen = hold_out(open_album(folder / "photos"), HELD_OUT)
    say(f"{len(album.names)} photographs to train on, {len(unseen.names)} held out")
    vgg = vgg_params.normalize(vgg_params.truncate(vgg, LEVELS))
    if jax.default_backend() == "cpu":
        vgg = jax.jit(vgg_params.prepare_for_cpu)(vgg)
    judge = Judge(vgg, center_squares(unseen, SQUARE))
    return Run(folder, vgg, album, judge, settings, every, say)


# --- where to start -----------------------------------------------------------------


def start(run: Run) -> State:
    """Return the state of the newest checkpoint, or that before the first step.

    Raises:
        ValueError: the checkpoint is of other settings or photographs, or there are
            no blocks yet for a chain to start from.
    """
    if not find_checkpoints(run.stage_folder / CHECKPOINTS):
        run.say(f"stage {run.settings.stage}: from the beginning")
        is_first = run.settings.stage == STAGES[0]
        params = fit(run) if is_first else trained_blocks(run)
        return init_state(jax.tree.map(jnp.asarray, params))
    like = jax.eval_shape(lambda: init_state(new_decoder(run)))
    folder = run.stage_folder / CHECKPOINTS
    restored = load_checkpoint(folder, lambda _: like, configuration(run))
    for note in restored.notes:
        run.say(note)
    run.say(f"stage {run.settings.stage}: on from step {int(restored.state.step)}")
    state: State = jax.tree.map(jnp.asarray, restored.state)
    return state


def configuration(run: Run) -> dict[str, Any]:
    """Return what a checkpoint must have been made with, to go on from it.

    The number of steps is not part of it: a run may be made longer or shorter.
    """
    found = {**run.settings._asdict(), "photos": run.album.digest}
    del found["steps"]
    if run.settings.stage == STAGES[0]:
        return found
    return {**found, "start": digest_params(trained_blocks(run))}


def new_decoder(run: Run) -> dict[str, Any]:
    """Return the parameters of a decoder that knows nothing."""
    channels = [run.vgg[layer.replace("relu", "conv")]["bias"].size for layer in LEVELS]
    hidden = hidden_channels(channels, width=run.settings.width)
    return init_decoder(jax.random.key(run.settings.seed), channels, hidden=hidden)


def fit(run: Run) -> dict[str, Any]:
    """Return a decoder in closed form."""
    settings = run.settings
    encode = jax.jit(encode_photos)

    def draw(number: int) -> list[np.ndarray]:
        # Another seed than that of the steps, which see crops of other places.
        crops = draw_crops(run.album, seed=settings.seed + 1, step=number, **FITTED)
        if number % 10 == 0:
            run.say(f"closed form: {number} of {settings.fitted} batches")
        return [np.asarray(maps) for maps in encode(run.vgg, crops)]

    batches = map(draw, range(settings.fitted))
    return fit_decoder(new_decoder(run), batches, samples=SAMPLES, seed=settings.seed)


def trained_blocks(run: Run) -> dict[str, Any]:
    """Return the decoder that the stage before has trained.

    Raises:
        ValueError: it has not come to its end.
    """
    path = run.folder / STAGES[0] / FINAL
    if not path.exists():
        raise ValueError(
            f"there is no {path}: first train the blocks to the end, with "
            f"--stage {STAGES[0]}"
        )
    params, _ = load_params(path)
    shapes = jax.tree.map(lambda x: x.shape, jax.eval_shape(lambda: new_decoder(run)))
    check_params(params, shapes, path=path)
    return params


# --- steps --------------------------------------------------------------------------


def make_advance(run: Run) -> Advance:
    """Return what makes the steps of the stage."""
    return blocks_advance(run) if run.settings.stage == "blocks" else chain_advance(run)


def blocks_advance(run: Run) -> Advance:
    """Return what trains each block alone."""
    settings = run.settings
    plan = Plan(settings.batch, echo=settings.echo, seed=settings.seed)
    replay = Replay(
        plan,
        partial(_draw, run),
        partial(jax.jit(encode_photos), run.vgg),
    )
    step: Any = jax.jit(
        partial(train_blocks, schedule=settings.schedule()),
        static_argnames="levels",
        donate_argnums=0,
    )

    def advance(state: State, number: int) -> tuple[State, Metrics]:
        levels = TRAINED if number % RARELY else (*TRAINED, ALSO)
        maps, chosen = replay.maps(number), plan.chosen(number)
        made: tuple[State, Metrics] = step(state, maps, chosen, levels=levels)
        return made

    return advance


def chain_advance(run: Run) -> Advance:
    """Return what trains all blocks as one."""
    settings = run.settings
    step: Any = jax.jit(
        partial(train_chain, schedule=settings.schedule()),
        static_argnames="level",
        donate_argnums=0,
    )

    def advance(state: State, number: int) -> tuple[State, Metrics]:
        level = draw_level(CHAINS, seed=settings.seed, step=number)
        photos = _draw(run, number)
        made: tuple[State, Metrics] = step(state, photos, run.vgg, level=level)
        return made

    return advance


def _draw(run: Run, number: int) -> np.ndarray:
    settings = run.settings
    return draw_crops(
        run.album,
        seed=settings.seed,
        step=number,
        batch=settings.batch,
        crop=settings.crop,
    )


def train(run: Run, state: State, *, seconds: float) -> State:
    """Make steps to the end, to an interrupt, or until the time is over.

    Raises:
        NotFiniteError: a metric is not finite; no checkpoint holds what came of it.
        ValueError: a file cannot be written.
    """
    advance, began = make_advance(run), time.monotonic()
    saved, recent = began, list[Metrics]()
    step, steps = int(state.step), run.settings.steps
    with catch_interrupts() as interrupts, RunLog(run.stage_folder, step=step) as log:
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
            over = interrupts.received or time.monotonic() - began > seconds
            if step == steps or step % run.every == 0:
                evaluate(run, state, log)
            if over or step == steps or time.monotonic() - saved > SECONDS:
                save(run, state, log)
                saved = time.monotonic()
            if over:
                break
    if step == steps:
        save_params(state.params, run.stage_folder / FINAL, metadata={})
    return state


def average(recent: Sequence[Metrics], step: int) -> dict[str, float]:
    """Return the mean of each metric over the steps that have it.

    Raises:
        NotFiniteError: one is not finite.
    """
    found: dict[str, list[float]] = {}
    for metrics in jax.device_get(list(recent)):
        for name, value in metrics.items():
            found.setdefault(name, []).append(float(value))
    means = {name: float(np.mean(values)) for name, values in sorted(found.items())}
    for name, value in means.items():
        if not np.isfinite(value):
            raise NotFiniteError(f"the loss {name}", step)
    return means


def evaluate(run: Run, state: State, log: RunLog) -> None:
    """Measure a decoder, and write it and its pictures."""
    step = int(state.step)
    measures, sheet = run.judge.measure(state.params)
    log.write(step, measures)
    save_image(sheet, run.stage_folder / SHEET)
    ratios = [f"{measures[f'psnr{level + 1}']:.2f}" for level in range(len(LEVELS))]
    run.say(f"step {step}: PSNR {' '.join(ratios)} dB from {', '.join(LEVELS)}")
    metadata = {
        "stage": run.settings.stage,
        "step": str(step),
        "steps": str(run.settings.steps),
        "width": f"{run.settings.width:g}",
        "photographs": str(len(run.album.names)),
        "psnr": " ".join(ratios),
    }
    save_decoder(state.params, run.folder / DECODER, metadata=metadata)


def save(run: Run, state: State, log: RunLog) -> None:
    """Write a checkpoint.

    Raises:
        NotFiniteError: a part of the state is not finite; nothing is written.
    """
    for path, leaf in jax.tree.leaves_with_path(state):
        if not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise NotFiniteError(name, int(state.step))
    log.sync()
    save_checkpoint(run.stage_folder / CHECKPOINTS, state, configuration(run))
