"""Style optimization from coarse to fine: large strokes first, details last.

Source: the pyramid follows Gatys et al. (2017), "Controlling perceptual factors in
neural style transfer", section 6, in steps of sqrt(2), with styles that are resized
along and an optimizer that is handed over as in Crowson's style-transfer-pytorch. That
the content's details come in with every scale is our own.
"""

# Signatures are shown as they are written here, not as what their types stand for.
from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxstyle.images.arrays import Image, Params
from jaxstyle.losses.extractor import DEFAULT_EXECUTION, Execution
from jaxstyle.losses.objective import (
    DEFAULT_OBJECTIVE,
    Objective,
    StyleWeights,
    Weights,
)
from jaxstyle.losses.perceptual import Metrics, Problem
from jaxstyle.losses.targets import Mask, make_targets
from jaxstyle.optimize.optimizers import BEST, Keeper, lbfgs
from jaxstyle.optimize.scenes import (
    Scene,
    check_scene,
    resize_image,
    resize_scene,
)
from jaxstyle.optimize.steps import (
    State,
    init_state,
    kept_picture,
    make_step,
)

SMALLEST = 128
"""The longer side of the coarsest scale, in pixels, where the picture is larger."""


def pyramid_sizes(
    longest: int, *, smallest: int = SMALLEST, ratio: float = math.sqrt(2)
) -> tuple[int, ...]:
    """Compute the longer sides of a pyramid in pixels, from coarse to fine.

    The last is ``longest``, and each other is smaller than the next by ``ratio``; none
    is below ``smallest``, unless ``longest`` is.

    Args:
        longest: the longer side of the picture, in pixels.
        smallest: the least longer side of a scale, 128 pixels by default.
        ratio: the size of each scale relative to the one before, more than 1.

    Returns:
        The sides, as `jaxstyle.optimize_image` takes them.

    Examples:
        >>> jaxstyle.optimize.pyramid_sizes(512)
        (128, 181, 256, 362, 512)
        >>> jaxstyle.optimize.pyramid_sizes(500, ratio=2.0)
        (250, 500)
    """
    if not ratio > 1:
        raise ValueError(f"scales must grow by a ratio of more than 1, got {ratio}")
    sizes = [longest]
    while (size := round(longest / ratio ** len(sizes))) >= max(smallest, 1):
        sizes.append(size)
    return tuple(reversed(sizes))


def split_steps(
    steps: int, scales: int, *, last_scale_factor: int = 1
) -> tuple[int, ...]:
    """Divide steps among scales: twice as many for the first as for the next ones.

    With fewer steps than scales, the last scale still gets one.
    """
    shares = [2, *[1] * (scales - 2), last_scale_factor] if scales > 1 else [1]
    ends = [steps * total // sum(shares) for total in accumulate(shares)]
    return tuple(end - start for start, end in pairwise([0, *ends]))


def change_scale(
    state: State,
    size: tuple[int, ...],
    optimizer: optax.GradientTransformation,
    *,
    keeper: Keeper = BEST,
    detail: Image | None = None,
) -> State:
    """Make the state before the first step at another (height, width).

    It starts from the picture that was kept, and the keeper starts anew. What the scale
    before could not hold is missing there. With ``detail``, an image of the new size,
    the picture gets what that image loses on the way down and up again; an optimization
    that starts from its content would otherwise have to find it a second time.

    The moments of Adam and its kin, ``mu`` and ``nu``, are resized like the image, and
    their count of steps goes on; an optimizer without them, or with more, starts anew.
    """
    image = resize_image(kept_picture(state, keeper), size)
    if detail is not None:
        coarse = resize_image(resize_image(detail, state.image.shape[:2]), size)
        image = jnp.clip(image + detail - coarse, 0, 1)
    fresh = init_state(image, optimizer, keeper=keeper)._replace(step=state.step)
    moments = [
        optax.tree_utils.tree_get(state.optimizer_state, name) for name in ("mu", "nu")
    ]
    if any(getattr(moment, "shape", ()) != state.image.shape for moment in moments):
        return fresh
    mean, square = moments
    resized = optax.tree_utils.tree_set(
        state.optimizer_state,
        mu=jax.image.resize(mean, image.shape, "cubic"),
        nu=jax.image.resize(square, image.shape, "linear"),
    )
    states = (resized, fresh.optimizer_state)
    found, expected = (jax.tree.map(jnp.shape, state) for state in states)
    if found != expected:
        return fresh
    return fresh._replace(optimizer_state=resized)


def optimize_image(
    params: Params,
    content: Image,
    styles: Sequence[Image],
    *,
    weights: Weights,
    init: Image | None = None,
    steps: int = 300,
    sizes: Sequence[int] | None = None,
    last_scale_factor: int = 1,
    style_scale: float = 1.0,
    optimizer: optax.GradientTransformation | None = None,
    keeper: Keeper = BEST,
    style_weights: StyleWeights | None = None,
    masks: Sequence[Mask] | None = None,
    style_masks: Sequence[Mask | None] | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
) -> tuple[Image, Metrics]:
    """Repaint the content image in the style of others.

    Pure: it works under `jax.jit` (with ``steps`` and ``sizes`` static) and `jax.vmap`,
    and with an optimizer like Adam under `jax.grad`. Not jitted: jit what calls it. A
    `jax.vmap` for each of contents, styles, weights and inits makes a grid of pictures
    by one program.

    Source: Gatys et al. (2016). This starts from the content image where the paper
    starts from noise; pass ``init`` for that. With ``sizes`` it goes from coarse to
    fine, as Gatys et al. (2017), "Controlling perceptual factors in neural style
    transfer", section 6; that the content's details come in at every scale is our own.

    Args:
        params: a VGG's parameters; the loss weights assume `jaxstyle.vgg.normalize`'s.
        content: RGB in [0, 1], ``[h, w, 3]``.
        styles: one or more images of any sizes. Without ``sizes``, strokes come out as
            large as they are in these images, in pixels.
        weights: the weight of each term of the loss.
        init: the image to start from, of the size of the content or of the coarsest
            scale; the content itself by default, whose details then come in at every
            scale.
        steps: the number of evaluations of the loss and its gradient, at all scales
            together; the first scale gets twice as many as the next ones.
        sizes: the picture's longer side at each scale, such as
            `jaxstyle.optimize.pyramid_sizes` returns; by default one scale, the content
            as it is. The picture comes out at the last.
        last_scale_factor: the steps of the last scale relative to those before it.
        style_scale: with ``sizes``, a style's longer side relative to the picture's, at
            every scale, as far as the style is large enough: more gives larger strokes.
        optimizer: `jaxstyle.optimize.lbfgs` by default.
        keeper: which picture is handed from scale to scale and returned;
            by default the one with the lowest loss.
        style_weights: as in `jaxstyle.losses.make_targets`, and so the next three.
        masks: where each style belongs in the image.
        style_masks: which part of each style counts.
        objective: what is compared.
        execution: how features are computed.

    Returns:
        The picture that was kept, clipped to [0, 1], and the metrics of every step,
        ``[steps]`` each.

    Examples:
        >>> optimize = jax.jit(jaxstyle.optimize_image, static_argnames="steps")
        >>> styles = [painting]
        >>> picture, metrics = optimize(vgg, photo, styles, weights=weights, steps=5)
        >>> picture.shape, metrics["loss"].shape
        ((16, 16, 3), (5,))
    """
    optimizer = lbfgs() if optimizer is None else optimizer
    scene = Scene(content, styles, masks, style_masks)
    check_scene(scene)
    scenes = [scene]
    if sizes is not None:
        scenes = [resize_scene(scene, size, style_scale=style_scale) for size in sizes]
    if not scenes:
        raise ValueError("at least one size is needed, got none")
    step = make_step(optimizer, keeper=keeper, execution=execution)
    image = content if init is None else init
    coarsest = scenes[0].content
    if image.shape not in (content.shape, coarsest.shape):
        raise ValueError(
            f"the initial image must be of the content's shape {content.shape}, "
            f"or of the coarsest scale's {coarsest.shape}, got {image.shape}"
        )
    first = resize_image(image, coarsest.shape[:2])
    counts = split_steps(steps, len(scenes), last_scale_factor=last_scale_factor)
    state, history = init_state(first, optimizer, keeper=keeper), []
    for scene, count in zip(scenes, counts, strict=True):
        size = scene.content.shape[:2]
        if state.image.shape[:2] != size:
            detail = scene.content if init is None else None
            state = change_scale(state, size, optimizer, keeper=keeper, detail=detail)
        targets = make_targets(
            params,
            **scene._asdict(),
            weights=weights,
            style_weights=style_weights,
            objective=objective,
            execution=execution,
        )
        problem = Problem(params, targets, weights)

        def advance(
            state: State, _: None, problem: Problem = problem
        ) -> tuple[State, Metrics]:
            return step(state, problem)

        state, metrics = lax.scan(advance, state, length=count)
        history.append(metrics)
    picture = kept_picture(state, keeper)
    return picture, jax.tree.map(lambda *parts: jnp.concatenate(parts), *history)
