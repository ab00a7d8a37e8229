"""The steps of ``jaxstyle optimize``, scale after scale."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxstyle.cli.optimize.lanes import map_distinct, over_lanes
from jaxstyle.cli.optimize.layout import Layout
from jaxstyle.cli.optimize.optimize_settings import Method
from jaxstyle.cli.optimize.scale_programs import (
    CAPACITY,
    Program,
    Programs,
    count_steps,
)
from jaxstyle.cli.optimize.scale_states import find_scale, make_layout, resize
from jaxstyle.cli.optimize.scene_inputs import Inputs
from jaxstyle.cli.pacing import SECONDS_PER_CALL, until_halt
from jaxstyle.images.arrays import Image
from jaxstyle.losses.objective import Weights
from jaxstyle.losses.perceptual import Problem
from jaxstyle.optimize import steps as gatys


class Progress(NamedTuple):
    """Where a run stands.

    Attributes:
        state: the last state of every lane.
        losses: those of all steps of the run, NaN where they are still to come.
    """

    state: gatys.State
    losses: Float[np.ndarray, "lanes steps"]

    @property
    def steps(self) -> Int[np.ndarray, " lanes"]:
        """The number of steps so far of each lane."""
        steps: np.ndarray = np.atleast_1d(np.asarray(self.state.step))
        return steps

    @property
    def step(self) -> int:
        """The number of steps so far of those that go on: failed ones have less."""
        return int(self.steps.max())

    @property
    def last(self) -> Float[np.ndarray, " lanes"]:
        """The loss of the last step of each lane."""
        last: np.ndarray = self.losses[np.arange(len(self.losses)), self.steps - 1]
        return last

    @property
    def failed(self) -> Bool[np.ndarray, " lanes"]:
        """Whether a lane has come to a loss that is not finite, where it ends."""
        failed: np.ndarray = (self.steps > 0) & ~np.isfinite(self.last)
        return failed


class Plan(NamedTuple):
    """The steps that are to be made.

    Attributes:
        method: what is compiled.
        programs: what makes the steps of each scale.
        inputs: those of each lane, all of the same sizes.
        ends: the number of steps after which each scale is over.
        weights: of the loss, of all lanes.
        intervals: there is a halt at every multiple of each.
        say: told what is going on.
    """

    method: Method
    programs: Programs
    inputs: Sequence[Inputs]
    ends: Sequence[int]
    weights: Weights
    intervals: Sequence[int]
    say: Callable[[str], object] = lambda _: None

    @property
    def sizes(self) -> Sequence[int]:
        """The longer side of the pictures at each scale, in pixels."""
        return self.inputs[0].sizes

    def program(self, scale: int) -> Program:
        """Return the program of a scale, once it is compiled."""
        return self.programs[scale, len(self.inputs)]

    def compile_ahead(self, step: int) -> Program:
        """Return the finest program; begin with all that follow a number of steps."""
        finest, lanes = len(self.sizes) - 1, len(self.inputs)
        spans = enumerate(pairwise((0, *self.ends)))
        left = [scale for scale, (begin, end) in spans if max(begin, step) < end]
        self.programs.begin((scale, lanes) for scale in (finest, *left))
        return self.program(finest)

    def layout(self, step: int) -> Layout:
        """Return where the images lie after a number of steps."""
        return make_layout(self.inputs[0], self.method, self.scale_of(step))

    def scale_of(self, step: int) -> int:
        """Return the number of the scale that made a step."""
        return find_scale(self.ends, step)

    def marks(self) -> dict[int, str]:
        """Return at which step which scale begins."""
        sides = zip(pairwise((0, *self.ends)), self.sizes, strict=True)
        return {begin: f"{size} px" for (begin, end), size in sides if begin < end}


def drive(plan: Plan, start: Progress) -> Iterator[Progress]:
    """Yield how far a run has come, again and again, until all steps are made.

    The device makes as many steps in one call as take about `SECONDS_PER_CALL`, and
    stops at every multiple of an interval and at the end of each scale. A loss that is
    not finite ends its lane, and with the last one all. All scales are compiled from
    the beginning, side by side, as far as there are processors.
    """
    progress = start
    plan.say(f"{plan.sizes[-1]} px, compiling")
    finest, at = len(plan.sizes) - 1, plan.scale_of(start.step)
    plan.compile_ahead(start.step).check(states=0 if at == finest else 1)
    for scale, (begin, end) in enumerate(pairwise((0, *plan.ends))):
        if progress.step >= end:
            continue
        plan.say(f"{plan.sizes[scale]} px, compiling")
        program = plan.program(scale)
        plan.say(f"{plan.sizes[scale]} px, {program.needed / 1e9:.1f} GB")
        scenes = map_distinct(partial(resize, index=scale), plan.inputs)
        if program.enter is not None and progress.step == begin:
            progress = progress._replace(state=program.enter(progress.state, scenes))
        problem, count = program.make_problem(scenes, plan.weights), 1
        while progress.step < end:
            count = min(count, until_halt(progress.step, end, plan.intervals))
            started = time.perf_counter()
            progress, made = _advance(program, problem, progress, count)
            pace = made / (time.perf_counter() - started)
            yield progress
            if progress.failed.all():
                return
            count = max(1, min(int(SECONDS_PER_CALL * pace), CAPACITY))


def _advance(
    program: Program, problem: Problem, progress: Progress, count: int
) -> tuple[Progress, int]:
    """Make up to so many steps; return the progress and how many they were."""
    before, losses = progress.steps, progress.losses.copy()
    counts = count_steps(count, ~progress.failed)
    state, history = program.run_steps(progress.state, problem, counts)
    advanced = Progress(state, losses)
    made = advanced.steps - before  # waits for the device
    found = np.atleast_2d(np.asarray(history["loss"]))
    for lane, (first, more) in enumerate(zip(before, made, strict=True)):
        losses[lane, first : first + more] = found[lane, :more]
    return advanced, int(made.max())


def kept_pictures(plan: Plan, progress: Progress) -> Image:
    """Return the picture that is kept in each lane."""
    pictures: Image = plan.layout(progress.step).fetch(_kept(plan, progress))
    return pictures


def measure(plan: Plan, progress: Progress) -> Float[np.ndarray, " lanes"]:
    """Return the losses of the pictures that are kept, by one more step from them.

    The state is used up: the step takes its memory.
    """
    scale = plan.scale_of(progress.step)
    program = plan.program(scale)
    scenes = map_distinct(partial(resize, index=scale), plan.inputs)
    problem = program.make_problem(scenes, plan.weights)
    state = progress.state._replace(image=_kept(plan, progress))
    counts = count_steps(1, np.ones(len(plan.inputs), bool))
    _, history = program.run_steps(state, problem, counts)
    return np.atleast_2d(np.asarray(history["loss"]))[:, 0]


def _kept(plan: Plan, progress: Progress) -> Image:
    """Return the picture that is kept in each lane, where the state lies."""
    kept = partial(gatys.kept_picture, keeper=plan.method.keeper)
    pictures: Image = over_lanes(kept, len(plan.inputs))(progress.state)
    return pictures
