"""The compiled programs of ``jaxstyle optimize``, scale by scale, in the background."""

import json
import os
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import jax
from jax.stages import Compiled
from jax.typing import ArrayLike

from jaxstyle.cli.optimize.scales import CompileOptions, Scale, make_targets
from jaxstyle.cli.optimize.scene_inputs import Inputs, resize
from jaxstyle.losses.objective import Weights
from jaxstyle.losses.perceptual import Problem
from jaxstyle.optimize import steps
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.optimize.pyramid import split_steps
from jaxstyle.optimize.scenes import Scene
from jaxstyle.scaling import memory
from jaxstyle.scaling.sharding import Layout
from jaxstyle.vgg.layers import VGGParams

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")

THREADS = os.cpu_count() or 1
"""The number of results computed at a time by `Ahead`."""


class Ahead(Generic[Key, Result]):
    """Results of a function by key, each computed once: ``results[key]``.

    One thread asks; others compute.
    """

    def __init__(self, function: Callable[[Key], Result]) -> None:
        self._function = function
        self._futures: dict[Key, Future[Result]] = {}
        self._threads = ThreadPoolExecutor(THREADS)

    def __getitem__(self, key: Key) -> Result:
        """Wait for the result of a key."""
        self.begin([key])
        return self._futures[key].result()

    def begin(self, keys: Iterable[Key]) -> None:
        """Begin to compute the results of keys that will be asked for, in order."""
        for key in keys:
            if key not in self._futures:
                self._futures[key] = self._threads.submit(self._function, key)

    def drop(self) -> None:
        """Cancel all that has not begun; it may still be asked for."""
        self._futures = {
            key: future for key, future in self._futures.items() if not future.cancel()
        }


class ScaleProgram(NamedTuple):
    """The compiled programs of one scale.

    Attributes:
        enter: ``enter(state, detail) -> state``, from the last state of the scale
            before, with the detail of `change_scale`; ``None`` at the first scale.
        make_problem: ``make_problem(scene, weights)``, the loss to minimize.
        run_steps: ``run_steps(state, problem, count) -> (state, metrics)``, which
            makes up to `CAPACITY` steps and reuses the memory of the state.
        arrays: the shapes of the state and of the targets.
    """

    enter: Compiled | None
    make_problem: Callable[[Scene, Weights], Problem]
    run_steps: Compiled
    arrays: Any


@dataclass(frozen=True)
class Programs:
    """The programs of all pictures of one size, compiled in the background.

    A scale is over after as many steps as ``ends`` says.
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
        return bisect_left(self.ends, step)

    def compile_ahead(self, step: int) -> None:
        """Begin to compile the last scale, and the others that come after a step."""
        spans = enumerate(self.spans)
        left = [scale for scale, (begin, end) in spans if max(begin, step) < end]
        self.compiled.begin([len(self.ends) - 1, *left])

    def needed_memory(self, scale: int) -> int:
        """Compute the bytes per device for a scale, without images and network."""
        program, devices = self.compiled[scale], self.scales[scale].layout.devices
        arrays = memory.size_in_bytes(program.arrays)
        return memory.needed_memory(program.run_steps) + arrays // devices

    def check_memory(self) -> None:
        """Raise a TooLargeError unless the last, largest scale fits in memory."""
        last = len(self.scales) - 1
        program, devices = self.compiled[last], self.scales[last].layout.devices
        try:
            memory.check_memory(
                program.run_steps, coming=program.arrays, devices=devices
            )
        except memory.TooLargeError:
            self.compiled.drop()
            raise

    def layout(self, state: steps.State) -> Layout:
        """Find the layout of the images of a state."""
        return self.scales[self.find_scale(int(state.step))].layout

    def kept_picture(self, state: steps.State) -> ArrayLike:
        """Fetch the picture that is kept, in [0, 1], ``[h, w, 3]``."""
        kept = steps.kept_picture(state, self.options.keeper)
        return self.layout(state).fetch(kept)


def make_programs(
    inputs: Inputs,
    config: OptimizeConfig,
    options: CompileOptions,
    params: VGGParams,
) -> Programs:
    """Prepare the programs; each is compiled when it is first asked for, or before.

    Only the sizes of the inputs matter, and not the config's numbers of loss weights.
    """
    factor, count = config.last_scale_factor, len(inputs.sizes)
    counts = split_steps(config.steps, count, last_scale_factor=factor)
    ends = list(accumulate(counts))
    scenes = [jax.eval_shape(partial(resize, inputs, scale)) for scale in range(count)]
    scales = [Scale(options, scene.content.shape[:2]) for scene in scenes]
    jitted_targets = jax.jit(make_targets, static_argnums=(0, 1, 2))
    compared = options.objective, options.execution, json.dumps(config.loss.blend)

    def compile_scale(number: int) -> ScaleProgram:
        scale, scene, weights = scales[number], scenes[number], config.weights()
        lowered = jitted_targets.lower(*compared, params, scene, weights)
        compiled = lowered.compile()

        def make_problem(scene: Scene, weights: Weights) -> Problem:
            problem = Problem(params, compiled(params, scene, weights), weights)
            return jax.device_put(problem, scale.problem_shardings(problem))

        problem = Problem(params, lowered.out_info, weights)
        enter, run_steps = None, scale.compile_steps(problem)
        if number > 0:
            before = scales[bisect_left(ends, ends[number - 1])]
            detail = scene.content if config.init == "content" else None
            enter = scale.compile_enter(before, detail)
        return ScaleProgram(
            enter, make_problem, run_steps, (scale.state, problem.targets)
        )

    return Programs(options, ends, scales, Ahead(compile_scale))
