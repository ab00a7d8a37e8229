"""Interpolation of nets.

Interpolating the *parameters* of nets that were trained from one another, or from the
same first parameters, gives another working style with crisp strokes. See Wang et al.
(2019), "Deep Network Interpolation for Continuous Imagery Effect Transition". It fails
for nets of different origin, even if both paint alike: see `check_related`.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxstyle.nets.transform_net import Params

UNRELATED = 0.1
"""The cosine between kernels below which nets are unrelated: those that ship have 0.71
to 0.83, nets drawn from different keys 0.00."""

CONSTANTS = ("filter", "input", "negative_slope", "noise", "output")
"""The parameters that training does not change, so that they tell of a net's origin."""


def mix_styles(nets: Sequence[Params], shares: ArrayLike | Sequence[float]) -> Params:
    """Average the parameters of nets, weighted by shares.

    The mixture is a net for `jaxstyle.stylize`::

        sum_i shares_i nets_i / sum_i shares_i

    Pure: it can be vmapped over shares, and differentiated by shares and nets. A net
    with the only share comes back exactly. Negative shares extrapolate.

    It does not look at values, and also mixes nets of different origin, which gives no
    style; the command line refuses those. Batch norm's running statistics are averaged
    like all else, which makes them wrong for the mixture.

    Args:
        nets: parameters with equal names and shapes.
        shares: one number for each net, whose sum is not 0.

    Returns:
        Parameters of the same names and shapes.

    Raises:
        ValueError: the nets differ in a name or a shape, there is none, or the shares
            are not one for each.

    Examples:
        >>> mixture = jaxstyle.nets.mix_styles([net, net], [3, 1])
        >>> mixture["conv1"]["kernel"].shape
        (9, 9, 3, 8)
    """
    _check_alike(nets)
    weights = jnp.asarray(shares, float)
    if weights.shape != (len(nets),):
        raise ValueError(
            f"expected one share for each of {len(nets)} nets, shape ({len(nets)},), "
            f"got shape {weights.shape}"
        )
    weights = weights / weights.sum()

    def mean(*leaves: Array) -> Array:
        mixed = sum(weight * x for weight, x in zip(weights, leaves, strict=True))
        return jnp.asarray(mixed, jnp.result_type(*leaves))

    return dict(jax.tree.map(mean, *nets))


def check_related(nets: Sequence[Params]) -> None:
    """Raise a ValueError unless nets have a common origin, so that they can be mixed.

    Their names, shapes and constants must be equal, and their kernels have something in
    common. Nets that pass may still be too far from each other. Not pure: it looks at
    values.
    """
    _check_alike(nets)
    first, *others = nets
    for number, net in enumerate(others, start=2):
        for name in CONSTANTS:
            mine, theirs = (jax.tree.leaves(x.get(name)) for x in (net, first))
            if not all(map(np.array_equal, mine, theirs)):
                raise ValueError(
                    f"net {number} has other constants than net 1 in {name}, so it was "
                    "not trained from the same net"
                )
        a, b = _kernels(first), _kernels(net)
        cosine = float(a @ b / np.sqrt((a @ a) * (b @ b)))
        if cosine < UNRELATED:
            raise ValueError(
                f"net {number} has nothing in common with net 1 (the cosine between "
                f"their kernels is {cosine:.2f}), so their mean is no style; train one "
                "from the other"
            )


def _kernels(net: Params) -> Float[np.ndarray, " n"]:
    leaves = map(np.asarray, jax.tree.leaves(net))
    return np.concatenate([leaf.ravel() for leaf in leaves if leaf.ndim == 4])


def _check_alike(nets: Sequence[Params]) -> None:
    """Raise a ValueError unless all trees have arrays of the same names and shapes."""
    if isinstance(nets, Mapping):
        raise TypeError("expected a list of nets, got one: write [net]")
    if not nets:
        raise ValueError("expected at least one net, got none")
    for net in nets:
        if not isinstance(net, Mapping):
            raise TypeError(
                f"expected the parameters of nets, got {net!r}; load them by "
                "jaxstyle.load_style"
            )
    first, *others = map(_shapes, nets)
    for number, shapes in enumerate(others, start=2):
        names = [x for x in first | shapes if first.get(x) != shapes.get(x)]
        if names:
            expected, found = (x.get(names[0], "missing") for x in (first, shapes))
            raise ValueError(
                f"net {number} differs from net 1 in {len(names)} arrays, the first "
                f"one is {names[0]}: {found} instead of {expected}; expected nets of "
                "one width, norm and number of blocks"
            )


def _shapes(net: Params) -> dict[str, tuple[int, ...]]:
    paths = jax.tree_util.tree_leaves_with_path(net)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): jnp.shape(leaf)
        for path, leaf in paths
    }
