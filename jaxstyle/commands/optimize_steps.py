"""The steps of ``jaxstyle optimize``, scale after scale."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxstyle import gatys
from jaxstyle.commands.optimize_programs import CAPACITY, Program
from jaxstyle.commands.pacing import SECONDS_PER_CALL, until_halt
from jaxstyle.keepers import Keeper
from jaxstyle.objective import Weights
from jaxstyle.perceptual import Problem


class Progress(NamedTuple):
    """Where a run stands.

    Attributes:
        state: the last state.
        losses: those of all steps of the run, NaN where they are still to come.
    """

    state: gatys.State
    losses: Float[np.ndarray, " steps"]

    @property
    def step(self) -> int:
        """The number of steps so far."""
        return int(self.state.step)

    @property
    def loss(self) -> float:
        """The loss of the last step."""
        return float(self.losses[self.step - 1])


class Plan(NamedTuple):
    """The steps that are to be made.

    Attributes:
        compile_scale: returns the program of a scale by its number.
        sizes: the longer side of the picture at each scale, in pixels.
        ends: the number of steps after which each scale is over.
        weights: of the loss.
        intervals: there is a halt at every multiple of each.
        say: told what is going on.
    """

    compile_scale: Callable[[int], Program]
    sizes: Sequence[int]
    ends: Sequence[int]
    weights: Weights
    intervals: Sequence[int]
    say: Callable[[str], object] = lambda _: None

    def scale_of(self, step: int) -> int:
        """Return the number of the scale that made a step."""
        return next(scale for scale, end in enumerate(self.ends) if step <= end)

    def marks(self) -> dict[int, str]:
        """Return at which step which scale begins."""
        sides = zip(pairwise((0, *self.ends)), self.sizes, strict=True)
        return {begin: f"{size} px" for (begin, end), size in sides if begin < end}


def drive(plan: Plan, start: Progress) -> Iterator[Progress]:
    """Yield how far a run has come, again and again, until all steps are made.

    The device makes as many steps in one call as take about `SECONDS_PER_CALL`, and
    stops at every multiple of an interval and at the end of each scale. A loss that is
    not finite ends it.
    """
    progress = start
    plan.say(f"{plan.sizes[-1]} px, compiling")
    plan.compile_scale(len(plan.sizes) - 1)  # a lack of memory is known at once
    for scale, (begin, end) in enumerate(pairwise((0, *plan.ends))):
        if progress.step >= end:
            continue
        plan.say(f"{plan.sizes[scale]} px, compiling")
        program = plan.compile_scale(scale)
        plan.say(f"{plan.sizes[scale]} px")
        if scale > 0 and progress.step == begin:
            progress = progress._replace(state=program.enter(progress.state))
        problem, count = program.make_problem(plan.weights), 1
        while progress.step < end:
            count = min(count, until_halt(progress.step, end, plan.intervals))
            started = time.perf_counter()
            progress, made = _advance(program, problem, progress, count)
            pace = made / (time.perf_counter() - started)
            yield progress
            if not np.isfinite(progress.loss):
                return
            count = max(1, min(int(SECONDS_PER_CALL * pace), CAPACITY))


def _advance(
    program: Program, problem: Problem, progress: Progress, count: int
) -> tuple[Progress, int]:
    """Make up to so many steps; return the progress and how many they were."""
    before = progress.step
    state, history = program.run_steps(progress.state, problem, count)
    made = int(state.step) - before  # waits for the device
    losses = progress.losses.copy()
    losses[before : before + made] = np.asarray(history["loss"])[:made]
    return Progress(state, losses), made


def measure(plan: Plan, progress: Progress, keeper: Keeper) -> float:
    """Return the loss of the picture that is kept, by a first step from it."""
    picture = gatys.kept_picture(progress.state, keeper)
    program = plan.compile_scale(plan.scale_of(progress.step))
    problem = program.make_problem(plan.weights)
    _, history = program.run_steps(program.init(picture), problem, 1)
    return float(history["loss"][0])
