"""The programs that make a picture, compiled in the background, and a run of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.stages import Compiled
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxstyle.cli.ahead import Ahead
from jaxstyle.cli.optimize.compilation import (
    CompileOptions,
    Scale,
    compile_enter,
    compile_steps,
    make_scale,
    problem_shardings,
)
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.scene_inputs import Inputs, describe, resize
from jaxstyle.images.arrays import Image
from jaxstyle.losses.objective import Weights
from jaxstyle.losses.perceptual import Problem
from jaxstyle.optimize import steps
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.optimize.pyramid import split_steps
from jaxstyle.optimize.scenes import Scene, make_scene_targets
from jaxstyle.scaling.memory import (
    TooLargeError,
    check_memory,
    needed_memory,
    size_in_bytes,
)
from jaxstyle.scaling.sharding import Layout
from jaxstyle.vgg import network

CHECKPOINTS = "checkpoints"
"""The name of their folder."""

FRAMES = 120
"""About how many frames a film has."""


class ScaleProgram(NamedTuple):
    """The compiled programs of one scale.

    Attributes:
        enter: ``enter(state, content) -> state``, from the last state of the scale
            before and the content at this scale; ``None`` at the first scale.
        make_problem: ``make_problem(scene, weights)``, what is minimized.
        run_steps: ``run_steps(state, problem, count) -> (state, metrics)``, which
            makes up to `CAPACITY` steps and reuses the memory of the state.
        problem: the shapes of the problem.
    """

    enter: Callable[[steps.State, Image], steps.State] | None
    make_problem: Callable[[Scene, Weights], Problem]
    run_steps: Compiled
    problem: Problem


@dataclass(frozen=True)
class Programs:
    """The programs of all pictures of one size.

    Attributes:
        options: what they are compiled for.
        ends: the number of steps after which each scale is over.
        scales: what is known of each scale before.
        compiled: the programs of each scale, compiled in the background.
    """

    options: CompileOptions
    ends: Sequence[int]
    scales: Sequence[Scale]
    compiled: Ahead[int, ScaleProgram]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The numbers of steps before the first and after the last of each scale."""
        return list(pairwise((0, *self.ends)))

    def find_scale(self, step: int) -> int:
        """Find the number of the scale that made a step."""
        return _find_scale(self.ends, step)

    def layout(self, step: int) -> Layout:
        """Find out where the images lie after a number of steps."""
        return self.scales[self.find_scale(step)].layout

    def compile_ahead(self, step: int) -> None:
        """Begin to compile the last scale, and the others that come after a step."""
        spans = enumerate(self.spans)
        left = [scale for scale, (begin, end) in spans if max(begin, step) < end]
        self.compiled.begin([len(self.ends) - 1, *left])

    def needed_memory(self, scale: int) -> int:
        """Compute the bytes per device for a scale, without images and network."""
        program, (_, layout, _, state) = self.compiled[scale], self.scales[scale]
        arrays = size_in_bytes((state, program.problem.targets))
        return needed_memory(program.run_steps) + arrays // layout.devices

    def check_memory(self) -> None:
        """Check that the last scale fits, before anything as large is computed.

        Raises:
            TooLargeError: memory does not suffice.
        """
        program, (_, layout, _, state) = (
            self.compiled[len(self.ends) - 1],
            self.scales[-1],
        )
        coming = (state, program.problem.targets)
        try:
            check_memory(program.run_steps, coming=coming, devices=layout.devices)
        except TooLargeError:
            self.compiled.drop()
            raise

    def kept_picture(self, state: steps.State) -> ArrayLike:
        """Fetch the picture that is kept, in [0, 1], ``[h, w, 3]``."""
        kept = steps.kept_picture(state, self.options.keeper)
        picture: ArrayLike = self.layout(int(state.step)).fetch(kept)
        return picture


def make_programs(
    inputs: Inputs,
    config: OptimizeConfig,
    options: CompileOptions,
    params: network.VGGParams,
) -> Programs:
    """Prepare the programs; each is compiled when it is first asked for, or before.

    Args:
        inputs: like those of all pictures that are made: only sizes matter.
        config: theirs, in which the numbers of the loss weights do not matter.
        options: what to compile for.
        params: the network, from `prepare`.
    """
    factor, count = config.last_scale_factor, len(inputs.sizes)
    counts = split_steps(config.steps, count, last_scale_factor=factor)
    ends = list(accumulate(counts))
    scales = [
        make_scale(options, jax.eval_shape(partial(resize, inputs, scale)))
        for scale in range(count)
    ]
    make_targets = jax.jit(
        partial(
            make_scene_targets,
            style_weights=config.loss.blend,
            objective=options.objective,
            execution=options.execution,
        )
    )

    def compile_scale(number: int) -> ScaleProgram:
        scale, weights = scales[number], config.weights()
        lowered = make_targets.lower(params, scale.scene, weights)
        compiled = lowered.compile()

        def make_problem(scene: Scene, weights: Weights) -> Problem:
            problem = Problem(params, compiled(params, scene, weights), weights)
            where = problem_shardings(scale.layout, problem)
            placed: Problem = jax.device_put(problem, where)
            return placed

        problem = Problem(params, lowered.out_info, weights)
        enter, run_steps = None, compile_steps(options, scale, problem)
        if number > 0:
            before = scales[_find_scale(ends, ends[number - 1])]
            detailed = inputs.from_content
            enter = compile_enter(options, before, scale, detailed=detailed)
        return ScaleProgram(enter, make_problem, run_steps, problem)

    return Programs(options, ends, scales, Ahead(compile_scale))


def _find_scale(ends: Sequence[int], step: int) -> int:
    return next(scale for scale, end in enumerate(ends) if step <= end)


# --- runs ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One picture to make.

    Attributes:
        arguments: the options that make it alone.
        inputs: what it is made from.
        programs: make the steps; pictures of the same size share them.
        folder: is there until the picture is complete.
    """

    arguments: OptimizeOptions
    inputs: Inputs
    programs: Programs
    folder: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / CHECKPOINTS

    @property
    def configuration(self) -> dict[str, Any]:
        """All that shapes the numbers, for checkpoints."""
        about = describe(self.arguments)
        return {**about, "images and network": self.inputs.digest}

    @property
    def frame_interval(self) -> int | None:
        """The number of steps from frame to frame of the film, if one is requested."""
        return None if self.arguments.film is None else max(1, self.steps // FRAMES)

    @property
    def intervals(self) -> list[int]:
        """The device stops at every multiple of each, in steps."""
        intervals = [self.arguments.save_every, self.frame_interval]
        return [self.steps, *(every for every in intervals if every is not None)]

    @property
    def steps(self) -> int:
        """The number of steps at all scales together."""
        return self.arguments.config.steps

    def problem(self, scale: int) -> Problem:
        """Compute what is minimized at a scale."""
        make_problem = self.programs.compiled[scale].make_problem
        return make_problem(resize(self.inputs, scale), self.arguments.config.weights())


class Progress(NamedTuple):
    """The state of a run after some steps.

    Attributes:
        state: after the last step.
        losses: of all steps of the run, NaN where they are still to come.
    """

    state: steps.State
    losses: Float[np.ndarray, " steps"]

    @property
    def step(self) -> int:
        """The number of steps so far."""
        return int(self.state.step)

    @property
    def loss(self) -> float:
        """The loss of the last step."""
        return float(self.losses[self.step - 1])

    @property
    def failed(self) -> bool:
        """Whether the loss of the last step is not finite."""
        return self.step > 0 and not np.isfinite(self.loss)
