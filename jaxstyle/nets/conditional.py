"""Nets of many styles: a trunk that all share, and a part of its own for each style.

Together they are a transform net, which everything that takes a net takes. The part of
a style is, as a rule, the scales and biases of norms (Dumoulin et al., 2017); it may be
the kernels of all inner layers (Shen et al., 2018).
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax

from jaxstyle.images.arrays import Images
from jaxstyle.nets.net_layers import Params
from jaxstyle.nets.transform_net import stylize

Tree: TypeAlias = dict[str, Any]

NORMS, KERNELS = "norms", "kernels"
"""The parts of a net that may be a style's own."""

Path: TypeAlias = tuple[str, ...]
"""Where a layer's parameters are in a net's tree."""

OUTER: tuple[Path, ...] = (("conv1",), ("conv6",))
"""The convolutions whose kernels all styles share."""


def split_style(params: Params, *, part: str = NORMS) -> tuple[Tree, Tree]:
    """Split a net into a trunk and the part that is a style's own.

    Args:
        params: from `jaxstyle.nets.init_net`.
        part: ``"norms"``, the scales and biases of norms, which must be affine; or
            ``"kernels"``, the kernels and biases of all convolutions except the first
            and the last.

    Returns:
        Two trees, the trunk and the style, which `join_style` joins.

    Raises:
        ValueError: there is no such part, or the norms have no scales and biases.

    Examples:
        >>> trunk, style = jaxstyle.nets.split_style(net)
        >>> sorted(style)[:2], style["norm1"]["scale"].shape
        (['norm1', 'norm2'], (8,))
    """
    if part not in (NORMS, KERNELS):
        raise ValueError(f"no part {part!r}; known are {NORMS}, {KERNELS}")
    own = tuple(sorted(params.get("norm1", ())))
    if part == NORMS and own != ("bias", "scale"):
        raise ValueError(
            "expected a net with affine norms, which have a bias and a scale, got one "
            f"with {', '.join(own) or 'none'}"
        )
    return _split(params, _is_norm if part == NORMS else is_inner)


def _is_norm(path: Path) -> bool:
    return path[-1].startswith("norm")


def is_inner(path: Path) -> bool:
    """Test whether a path leads to a convolution whose kernel styles may own."""
    return path[-1].startswith("conv") and path not in OUTER


def _split(
    params: Params, belongs: Callable[[Path], bool], path: Path = ()
) -> tuple[Tree, Tree]:
    trunk, style = Tree(), Tree()
    for name, own in params.items():
        if name.startswith("residual"):
            trunk[name], style[name] = _split(own, belongs, (*path, name))
        elif belongs((*path, name)):
            style[name] = own
        else:
            trunk[name] = own
    return trunk, style


def join_style(trunk: Params, style: Params) -> Tree:
    """Join a trunk and a style to a net.

    Args:
        trunk: from `split_style`.
        style: from `split_style`, of the same net or of another one with this trunk.

    Returns:
        The parameters of the net, for `jaxstyle.stylize`.

    Examples:
        >>> joined = jaxstyle.nets.join_style(*jaxstyle.nets.split_style(net))
        >>> jax.tree.structure(joined) == jax.tree.structure(net)
        True
    """
    joined = {**trunk, **style}
    for name in trunk.keys() & style.keys():
        joined[name] = {**trunk[name], **style[name]}
    return joined


def label_norms(params: Params) -> Tree:
    """Label a net's norms ``moved`` and its trunk ``still``, for `optax.partition`."""
    trunk, norms = split_style(params)
    return join_style(
        jax.tree.map(lambda _: "still", trunk), jax.tree.map(lambda _: "moved", norms)
    )


def stylize_each(trunk: Params, styles: Params, images: Images) -> Images:
    """Repaint each image in a style of its own.

    Args:
        trunk: from `split_style`.
        styles: the parts of the styles, stacked: each array has a first axis of ``n``.
        images: ``[n, h, w, 3]``, as in `jaxstyle.stylize`.

    Returns:
        Images of the same shape.

    Examples:
        >>> trunk, style = jaxstyle.nets.split_style(net)
        >>> two = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), style)
        >>> photos = jnp.stack([photo, photo])
        >>> jaxstyle.nets.stylize_each(trunk, two, photos).shape
        (2, 16, 16, 3)
    """

    def apply(style: Params, image: Images) -> Images:
        return stylize(join_style(trunk, style), image)

    return jax.vmap(apply)(styles, images)
