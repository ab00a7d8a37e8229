"""The compiled programs of ``jaxstyle optimize``, scale by scale, in the background."""

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from jax.stages import Compiled
from jax.typing import ArrayLike

from jaxstyle.cli.optimize import functions
from jaxstyle.cli.optimize.functions import CompileOptions
from jaxstyle.cli.optimize.scene_inputs import Inputs, resize
from jaxstyle.cli.runtime import Ahead
from jaxstyle.images.arrays import Image
from jaxstyle.losses.objective import Weights
from jaxstyle.losses.perceptual import Problem
from jaxstyle.optimize import steps
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.optimize.pyramid import split_steps
from jaxstyle.optimize.scenes import Scene
from jaxstyle.scaling import memory
from jaxstyle.scaling.sharding import Layout, replicated, sharded_first_axis
from jaxstyle.vgg import params as vgg_params
from jaxstyle.vgg.layers import VGGParams

# --- one scale ----------------------------------------------------------------------


class Scale(NamedTuple):
    """The shapes of a scale's scene and of its state, and where these lie."""

    scene: Scene
    layout: Layout
    state: steps.State


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


def prepare(params: VGGParams, mesh: Mesh | None) -> VGGParams:
    """Put a network on the device, or on each of a mesh, in the form that suits it."""
    if mesh is None and jax.default_backend() == "cpu":
        params = jax.jit(vgg_params.prepare_for_cpu)(params)
    return jax.device_put(params, None if mesh is None else replicated(mesh))


def make_scale(options: CompileOptions, scene: Scene) -> Scale:
    """Make a scale from the shapes of its scene."""
    layout = Layout(scene.content.shape[0], options.execution.mesh)
    init = partial(functions.init, options, layout)
    return Scale(scene, layout, jax.eval_shape(init, scene.content))


def compile_steps(options: CompileOptions, scale: Scale, problem: Problem) -> Compiled:
    """Compile ``run_steps(state, problem, count)``; see `ScaleProgram`."""
    layout, state = scale.layout, scale.state
    of_state = layout.shardings(state)
    jitted = jax.jit(
        functions.run_steps,
        static_argnums=(0, 1),
        donate_argnums=2,
        in_shardings=(of_state, problem_shardings(layout, problem), None),
        out_shardings=(of_state, None),
    )
    return jitted.lower(options, layout, state, problem, 1).compile()


def problem_shardings(layout: Layout, problem: Problem) -> Problem | None:
    """Shard the content targets by rows, and replicate the rest."""
    if (mesh := layout.mesh) is None:
        return None
    places: Problem = jax.tree.map(lambda _: replicated(mesh), problem)
    rows = sharded_first_axis(mesh)
    content = jax.tree.map(lambda _: rows, problem.targets.content)
    return places._replace(targets=replace(places.targets, content=content))


def compile_enter(
    options: CompileOptions, before: Scale, after: Scale, detail: Image | None
) -> Compiled:
    """Compile ``enter(state, detail)`` from one scale to the next."""
    layouts, (height, width, _) = (
        (before.layout, after.layout),
        after.scene.content.shape,
    )
    jitted = jax.jit(
        functions.enter,
        static_argnums=(0, 1, 2, 3),
        in_shardings=(before.layout.shardings(before.state), None),
        out_shardings=after.layout.shardings(after.state),
    )
    lowered = jitted.lower(options, *layouts, (height, width), before.state, detail)
    return lowered.compile()


# --- all scales ---------------------------------------------------------------------


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

    def init(self, image: Image) -> steps.State:
        """Make the state before the first step, of the first scale."""
        _, layout, state = self.scales[0]
        shardings = layout.shardings(state)
        jitted = jax.jit(functions.init, static_argnums=(0, 1), out_shardings=shardings)
        return jitted(self.options, layout, image)

    def layout(self, state: steps.State) -> Layout:
        """Find out where the images of a state lie."""
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
    scenes = (jax.eval_shape(partial(resize, inputs, scale)) for scale in range(count))
    scales = [make_scale(options, scene) for scene in scenes]
    jitted_targets = jax.jit(functions.make_targets, static_argnums=(0, 1, 2))
    compared = options.objective, options.execution, json.dumps(config.loss.blend)

    def compile_scale(number: int) -> ScaleProgram:
        scale, weights = scales[number], config.weights()
        lowered = jitted_targets.lower(*compared, params, scale.scene, weights)
        compiled = lowered.compile()

        def make_problem(scene: Scene, weights: Weights) -> Problem:
            problem = Problem(params, compiled(params, scene, weights), weights)
            where = problem_shardings(scale.layout, problem)
            return jax.device_put(problem, where)

        problem = Problem(params, lowered.out_info, weights)
        enter, run_steps = None, compile_steps(options, scale, problem)
        if number > 0:
            before = scales[bisect_left(ends, ends[number - 1])]
            detail = scale.scene.content if config.init == "content" else None
            enter = compile_enter(options, before, scale, detail)
        return ScaleProgram(
            enter, make_problem, run_steps, (scale.state, problem.targets)
        )

    return Programs(options, ends, scales, Ahead(compile_scale))
