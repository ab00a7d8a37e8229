"""Optimizers of pixels, and which of the images that they try is kept.

Optimizers are optax transformations of one image ``[h, w, 3]``.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from jaxstyle.images.arrays import Image
from jaxstyle.scaling.sharding import replicate, shard_rows

LONGEST_STEP = 0.02
"""The root mean square of the longest step of L-BFGS, the first, where white is 1."""


def lbfgs(
    *, memory_size: int = 20, exponent: float = 0.25, mesh: Mesh | None = None
) -> optax.GradientTransformationExtraArgs:
    """Make L-BFGS with full steps, in a basis that favors coarse structure.

    It moves z instead of the image K z, where K multiplies a frequency of f cycles per
    image by ``max(f, 1) ** -exponent``. That leaves up to a tenth less of the loss
    after as many evaluations as L-BFGS on the pixels themselves (``exponent=0``) takes;
    see ``scripts/benchmark_convergence.py``.

    There is no line search, as in most implementations of Gatys et al. (2016): each
    step is one evaluation of the loss and its gradient. But no step leads away from
    where the optimization began: one that ends above the first loss is taken back, and
    a shorter one is made with what it has shown of the curvature. For that
    ``update`` needs the loss, as ``value``.

    Source: Liu & Nocedal (1989), with the initial scale of their equation 7.20.
    Differences: the root mean square of steps, that of z, is 0.02 for the first and no
    more for others, and pairs without positive curvature are left out.

    Args:
        memory_size: how many past steps shape the next; each takes the memory of two
            images. 50 leave 4 % less of the Gram loss of the preset ``seed`` after 100
            evaluations, and no less of the default loss of the command line.
        exponent: how much coarse structure is favored.
        mesh: devices that share the rows of the image, from
            `jaxstyle.scaling.make_row_mesh`. Each transforms the spectrum of the whole
            image.

    Returns:
        The optax transformation of one image ``[h, w, 3]``.

    Examples:
        >>> optimizer, image = jaxstyle.optimize.lbfgs(memory_size=5), photo
        >>> state, update = jax.jit(optimizer.init)(image), jax.jit(optimizer.update)
        >>> for _ in range(30):
        ...     updates, state = update(image - painting, state, image)
        ...     image = image + updates
        >>> abs(image - painting).mean() < 0.1
        Array(True, dtype=bool)
    """
    return in_spectral_basis(_lbfgs(memory_size), exponent=exponent, mesh=mesh)


def adam(*, learning_rate: float = 0.02) -> optax.GradientTransformationExtraArgs:
    """Make Adam with b2 = 0.99 that keeps pixels in [0, 1].

    Args:
        learning_rate: the size of the first steps, where white is 1.

    Returns:
        The optax transformation of one image ``[h, w, 3]``.

    Examples:
        >>> optimizer = jaxstyle.optimize.adam(learning_rate=0.5)
        >>> image = jnp.array([[[0.25, 0.5, 0.75]]])
        >>> gradient = jnp.ones_like(image)
        >>> updates, _ = optimizer.update(gradient, optimizer.init(image), image)
        >>> (image + updates).round(2)
        Array([[[0.  , 0.  , 0.25]]], dtype=float32)
    """
    return optax.with_extra_args_support(
        optax.chain(optax.adam(learning_rate, b2=0.99), stay_in_range())
    )


OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformationExtraArgs]] = {
    "lbfgs": lbfgs,
    "adam": adam,
}
"""The optimizers by name."""


def stay_in_range() -> optax.GradientTransformation:
    """Make the transformation that clips updates so that pixels stay in [0, 1]."""

    def update(
        updates: Image, state: optax.OptState, image: Image | None = None
    ) -> tuple[Image, optax.OptState]:
        if image is None:
            raise ValueError("stay_in_range needs the image that the updates are for")
        return jnp.clip(image + updates, 0, 1) - image, state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


class _Curvature(NamedTuple):
    """What L-BFGS knows: the last steps, how the gradient changed, and 1 / products.

    The weight of what is not known yet is zero. The scale is that of steps along the
    gradient otherwise.
    """

    steps: Float[Array, "m h w 3"]
    changes: Float[Array, "m h w 3"]
    weights: Float[Array, " m"]
    scale: Float[Array, ""]
    known: Int[Array, ""]

    def learn(self, step: Image, change: Image) -> "_Curvature":
        """Replace the oldest step, if the gradient grew along the new one."""
        along, square = jnp.vdot(step, change), jnp.vdot(change, change)
        number = jnp.finfo(step.dtype)
        least = number.eps * jnp.sqrt(jnp.vdot(step, step)) * jnp.sqrt(square)
        grew = (along > jnp.maximum(least, number.tiny)) & (square > number.tiny)
        at = self.known % len(self.weights)

        def put(values: Array, value: Array) -> Array:
            kept = jnp.where(grew, value, values[at])
            return lax.dynamic_update_index_in_dim(values, kept, at, 0)

        return _Curvature(
            put(self.steps, step),
            put(self.changes, change),
            put(self.weights, 1 / along),
            jnp.where(grew, along / square, self.scale),
            self.known + grew,
        )

    def direct(self, gradient: Image) -> Image:
        """Compute the step to where the gradient should be zero."""
        size = len(self.weights)
        newest_first = (self.known - 1 - jnp.arange(size)) % size

        def remove(rest: Image, i: Array) -> tuple[Image, Array]:
            share = self.weights[i] * jnp.vdot(self.steps[i], rest)
            return rest - share * self.changes[i], share

        def restore(rest: Image, removed: tuple[Array, Array]) -> tuple[Image, None]:
            i, share = removed
            share -= self.weights[i] * jnp.vdot(self.changes[i], rest)
            return rest + share * self.steps[i], None

        rest, shares = lax.scan(remove, gradient, newest_first)
        rest *= jnp.where(self.known > 0, self.scale, _shorten(rest))
        rest, _ = lax.scan(restore, rest, (newest_first, shares), reverse=True)
        return -rest * jnp.minimum(_shorten(rest), 1)


def _shorten(step: Image) -> Float[Array, ""]:
    """Compute the factor that makes a step the longest that there is."""
    peak = jnp.abs(step).max()
    peak = jnp.where(peak > 0, peak, 1)
    size = jnp.sqrt(jnp.square(step / peak).mean())  # of at most 1: none overflows
    return LONGEST_STEP / jnp.maximum(size, jnp.finfo(step.dtype).eps) / peak


class _Descent(NamedTuple):
    """The image from which L-BFGS steps, its gradient, and the step's length.

    No image whose loss exceeds the limit is stepped from.
    """

    image: Image
    gradient: Image
    length: Float[Array, ""]
    limit: Float[Array, ""]
    curvature: _Curvature


def _lbfgs(memory_size: int) -> optax.GradientTransformationExtraArgs:
    """Make L-BFGS that takes back what ends above the first loss."""

    def init(image: Image) -> _Descent:
        pairs = jnp.zeros((memory_size, *image.shape), image.dtype)
        zero = jnp.zeros((), image.dtype)
        weights = jnp.zeros(memory_size, image.dtype)
        curvature = _Curvature(pairs, pairs, weights, zero, jnp.zeros((), jnp.int32))
        return _Descent(image, jnp.zeros_like(image), zero, zero + jnp.inf, curvature)

    def update(
        gradient: Image,
        state: _Descent,
        image: Image,
        *,
        value: Float[Array, ""] | float = 0.0,
        **_: Any,
    ) -> tuple[Image, _Descent]:
        began = state.length > 0
        learned = state.curvature.learn(
            image - state.image, jnp.where(began, gradient - state.gradient, 0)
        )
        descends = value <= state.limit
        start, slope = jax.tree.map(
            partial(jnp.where, descends), (image, gradient), state[:2]
        )
        length = jnp.where(descends, 1, state.length / 2)
        limit = jnp.where(began, state.limit, value).astype(state.limit.dtype)
        step = length * learned.direct(slope)
        return start + step - image, _Descent(start, slope, length, limit, learned)

    return optax.GradientTransformationExtraArgs(init, update)


def in_spectral_basis(
    optimizer: optax.GradientTransformation,
    *,
    exponent: float,
    mesh: Mesh | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Run an optimizer on z instead of the image K z, as `lbfgs` explains.

    K is symmetric, so that the gradient to z is K times the gradient to the image.
    """
    inner = optax.with_extra_args_support(optimizer)
    forth = partial(_filter_spectrum, exponent=exponent, mesh=mesh)
    back = partial(_filter_spectrum, exponent=-exponent, mesh=mesh)

    def init(image: Image) -> optax.OptState:
        return inner.init(forth(image))

    def update(
        gradient: Image, state: optax.OptState, image: Image, **extra: Any
    ) -> tuple[Image, optax.OptState]:
        translated = dict(extra)  # what optax's line searches are given
        if "grad" in extra:
            translated["grad"] = back(extra["grad"])
        if "value_fn" in extra:
            translated["value_fn"] = lambda z: extra["value_fn"](back(z))
        updates, state = inner.update(back(gradient), state, forth(image), **translated)
        return back(updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _filter_spectrum(image: Image, *, exponent: float, mesh: Mesh | None) -> Image:
    """Multiply each frequency of f cycles per image by ``max(f, 1) ** exponent``.

    The whole is scaled so that -exponent gives the inverse and white noise keeps about
    its size.
    """
    if mesh is not None:
        # The compiler cannot shard a Fourier transform. The barriers keep XLA on the
        # CPU from passing it arrays in a layout that it does not take.
        barrier: Any = lax.optimization_barrier
        whole = barrier(replicate(image, mesh))
        filtered = _filter_spectrum(whole, exponent=exponent, mesh=None)
        return shard_rows(barrier(replicate(filtered, mesh)), mesh)
    h, w, _ = image.shape
    longest = max(h, w)
    down, across = jnp.fft.fftfreq(h)[:, None], jnp.fft.rfftfreq(w)[None, :]
    cycles = jnp.maximum(longest * jnp.hypot(down, across), 1)
    gain = (cycles / (longest / 3)) ** exponent
    spectrum = jnp.fft.rfft2(image, axes=(0, 1))
    return jnp.fft.irfft2(spectrum * gain[..., None], s=(h, w), axes=(0, 1))


# --- keepers -------------------------------------------------------------------------

Kept: TypeAlias = Any
"""A keeper's own state: a tree of arrays."""


class Keeper(NamedTuple):
    """A rule for the picture that an optimization shows, among all its iterates.

    Attributes:
        init: ``init(image) -> kept``, for the image to start from.
        update: ``update(kept, image, loss, moved) -> kept``, for the image that was
            evaluated, its loss, and the image that the optimizer made of it.
        picture: ``picture(kept) -> image``, the picture to show.
    """

    init: Callable[[Image], Kept]
    update: Callable[[Kept, Image, Float[Array, ""], Image], Kept]
    picture: Callable[[Kept], Image]

    def __repr__(self) -> str:
        """Name the rule: in signatures, addresses of functions tell nothing."""
        return f"<{self.init.__qualname__.partition('.')[0]}>"


class Best(NamedTuple):
    """The image with the lowest loss so far, and that loss; at first the initial."""

    image: Image
    loss: Float[Array, ""]


class Average(NamedTuple):
    """The weighted sum of images, and 1 minus the sum of their weights."""

    total: Image
    lack: Float[Array, ""]


def keep_best() -> Keeper:
    """Keep the image with the lowest loss.

    Returns:
        The keeper. Until a loss is finite it shows the initial image.

    Examples:
        >>> keeper = jaxstyle.optimize.keep_best()
        >>> kept = keeper.init(photo)
        >>> kept = keeper.update(kept, photo, jnp.array(3.0), painting)
        >>> kept = keeper.update(kept, painting, jnp.array(5.0), photo)
        >>> jnp.array_equal(keeper.picture(kept), photo)
        Array(True, dtype=bool)
    """

    def init(image: Image) -> Best:
        return Best(image, jnp.full((), jnp.inf, image.dtype))

    def update(best: Best, image: Image, loss: Array, moved: Image) -> Best:
        better = loss < best.loss  # never so for a loss that is not a number
        return Best(
            jnp.where(better, image, best.image), jnp.where(better, loss, best.loss)
        )

    return Keeper(init, update, lambda best: best.image)


def keep_average(decay: float = 0.99) -> Keeper:
    """Keep the exponentially weighted average of all images, the first included.

        average <- decay average + (1 - decay) image,   divided by 1 - decay^count

    It removes the noise that the steps of constant size of Adam leave in a picture. An
    image that is not finite is left out.

    Source: the averaging of iterates of Polyak & Juditsky (1992), with the exponential
    weights and the correction of Kingma & Ba (2015), section 7.2.

    Args:
        decay: the share of the old average at each step, from 0 to less than 1.

    Returns:
        The keeper, which averages in float32 or better.

    Examples:
        >>> keeper = jaxstyle.optimize.keep_average(decay=0.5)
        >>> black, white = jnp.zeros((1, 1, 3)), jnp.ones((1, 1, 3))
        >>> kept = keeper.init(black)
        >>> kept = keeper.update(kept, black, jnp.array(5.0), white)
        >>> round(float(keeper.picture(kept).mean()), 2)
        0.67
    """

    def init(image: Image) -> Average:
        wide = image.astype(jnp.promote_types(image.dtype, jnp.float32))
        return Average((1 - decay) * wide, jnp.full((), decay, wide.dtype))

    def update(average: Average, image: Image, loss: Array, moved: Image) -> Average:
        finite = jnp.isfinite(moved).all()
        total = decay * average.total + (1 - decay) * moved
        return Average(
            jnp.where(finite, total, average.total),
            jnp.where(finite, decay * average.lack, average.lack),
        )

    return Keeper(init, update, lambda average: average.total / (1 - average.lack))


BEST = keep_best()
"""The default keeper."""

KEEPERS: dict[str, Callable[[], Keeper]] = {"best": keep_best, "average": keep_average}
"""The keepers by name."""
