"""The states of ``jaxstyle optimize``: the first one, and from scale to scale."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax

from jaxstyle.cli.optimize.lanes import over_lanes, stack, stack_shapes
from jaxstyle.cli.optimize.layout import Layout
from jaxstyle.cli.optimize.optimize_settings import Method
from jaxstyle.cli.optimize.scene_inputs import Inputs
from jaxstyle.images.arrays import Image
from jaxstyle.optimize import pyramid, steps
from jaxstyle.optimize.scenes import Scene, resize_scene


def find_scale(ends: Sequence[int], step: int) -> int:
    """Return the number of the scale that made a step."""
    return next(scale for scale, end in enumerate(ends) if step <= end)


def resize(inputs: Inputs, index: int) -> Scene:
    """Return the scene of a scale."""
    longest, style_scale = inputs.sizes[index], inputs.style_scale
    scene: Scene = _resize(inputs.scene, longest, style_scale=style_scale)
    return scene


_resize = jax.jit(resize_scene, static_argnames=("longest", "style_scale"))


def make_layout(inputs: Inputs, method: Method, index: int) -> Layout:
    """Return where the images of a scale lie."""
    scene = jax.eval_shape(lambda: resize(inputs, index))
    return Layout(scene.content.shape[0], method.execution.mesh)


def init_states(method: Method, layout: Layout, images: Image, lanes: int) -> Any:
    """Return the state of each lane before the first step from its image."""
    init = make_init(method, layout, lanes)
    shapes = jax.eval_shape(init, images)
    return jax.jit(init, out_shardings=layout.of_images(shapes))(images)


@cache
def make_init(
    method: Method, layout: Layout, lanes: int
) -> Callable[[Image], steps.State]:
    """Return what makes of an image in each lane the state before the first step."""
    optimizer, keeper, *_ = method

    def init(image: Image) -> steps.State:
        state = steps.init_state(image, optimizer, keeper=keeper)
        divided: steps.State = layout.divide(state)
        return divided

    return over_lanes(init, lanes)


def state_shapes(
    inputs: Inputs, method: Method, layout: Layout, index: int, lanes: int
) -> steps.State:
    """Return the shapes of the states of a scale, in a layout of its height."""
    scene = jax.eval_shape(lambda: resize(inputs, index))
    content = stack_shapes(scene.content, lanes)
    shapes: steps.State = jax.eval_shape(make_init(method, layout, lanes), content)
    return shapes


def make_enter(
    inputs: Inputs, method: Method, last: int, index: int, lanes: int
) -> Callable[[steps.State, Sequence[Scene]], steps.State]:
    """Compile what makes of the last state of a scale the first of another one."""
    before, after = (make_layout(inputs, method, n) for n in (last, index))
    old = state_shapes(inputs, method, before, last, lanes)
    new = state_shapes(inputs, method, after, index, lanes)
    scene = jax.eval_shape(lambda: resize(inputs, index))
    height, width, _ = scene.content.shape

    def change_scale(state: steps.State, detail: Image | None) -> steps.State:
        changed = pyramid.change_scale(
            before.join(state),
            (height, width),
            method.optimizer,
            keeper=method.keeper,
            detail=detail,
        )
        divided: steps.State = after.divide(changed)
        return divided

    details = stack_shapes(scene.content, lanes) if inputs.from_content else None
    jitted = jax.jit(
        over_lanes(change_scale, lanes),
        in_shardings=(before.of_images(old), None),
        out_shardings=after.of_images(new),
    )
    change_scales = jitted.lower(old, details).compile()

    def enter(state: steps.State, scenes: Sequence[Scene]) -> steps.State:
        contents = [scene.content for scene in scenes]
        detail = stack(contents) if inputs.from_content else None
        entered: steps.State = change_scales(state, detail)
        return entered

    return enter
