"""Optimizers of pixels, as optax transformations of one image ``[h, w, 3]``."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh

from jaxstyle.images.arrays import Image
from jaxstyle.scaling.sharding import replicate, shard_rows


def lbfgs(
    *, memory_size: int = 50, exponent: float = 0.25, mesh: Mesh | None = None
) -> optax.GradientTransformationExtraArgs:
    """Make L-BFGS with full steps, in a basis that favors coarse structure.

    It moves z instead of the image K z, where K multiplies a frequency of f cycles per
    image by ``max(f, 1) ** -exponent``. That leaves up to a tenth less of the loss
    after as many evaluations as L-BFGS on the pixels themselves (``exponent=0``) takes;
    see ``scripts/benchmark_convergence.py``. There is no line search, as in most
    implementations of Gatys et al. (2016): each step is one evaluation of the loss and
    its gradient.

    Args:
        memory_size: how many past steps shape the next; each takes the memory of two
            images.
        exponent: how much coarse structure is favored.
        mesh: devices that share the rows of the image, from
            `jaxstyle.scaling.make_row_mesh`. Each transforms the spectrum of the whole
            image.

    Returns:
        The optax transformation of one image ``[h, w, 3]``.

    Examples:
        >>> optimizer, image = jaxstyle.optimize.lbfgs(memory_size=10), photo
        >>> state, update = jax.jit(optimizer.init)(image), jax.jit(optimizer.update)
        >>> for _ in range(5):
        ...     updates, state = update(image - painting, state, image)
        ...     image = image + updates
        >>> abs(image - painting).mean() < 0.1
        Array(True, dtype=bool)
    """
    plain = optax.lbfgs(1.0, memory_size=memory_size, linesearch=None)
    return in_spectral_basis(plain, exponent=exponent, mesh=mesh)


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
