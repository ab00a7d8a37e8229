"""The settings of the loss: its weights, what is compared, how it is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from jax.sharding import Mesh
from jaxtyping import Array, Float

Scalar: TypeAlias = float | Float[Array, ""]

StyleWeights: TypeAlias = Sequence[float] | Mapping[str, Sequence[float]]
"""How much each of several styles counts, in all layers or by layer."""


class Weights(NamedTuple):
    """What counts how much: a weight per layer for content and style, and three more.

    The layers are structure, the numbers are data: under `jax.jit` other numbers do not
    recompile, and under `jax.vmap` they may differ from image to image.

    Attributes:
        content: the weight of `jaxstyle.losses.content_loss` by layer, such as
            ``relu4_2``.
        style: the weight of the style loss by layer.
        total_variation: the weight of `jaxstyle.losses.total_variation`.
        absolute_variation: the weight of `jaxstyle.losses.absolute_variation`.
        isotropic_variation: the weight of `jaxstyle.losses.isotropic_variation`.

    Examples:
        How the loss depends on a weight, in one program:

        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> def loss_of(strength):
        ...     style = {"relu1_1": strength}
        ...     mine = jaxstyle.Weights(content={"relu2_1": 1.0}, style=style)
        ...     return jaxstyle.losses.perceptual_loss(vgg, photo, targets, mine)[0]
        >>> losses = jax.jit(jax.vmap(loss_of))(jnp.array([0.0, 1.0, 2.0]))
        >>> (losses / losses[1]).round(3)
        Array([0., 1., 2.], dtype=float32)
    """

    content: Mapping[str, Scalar]
    style: Mapping[str, Scalar]
    total_variation: Scalar = 0.0
    absolute_variation: Scalar = 0.0
    isotropic_variation: Scalar = 0.0


PRECISIONS = ("float32", "bfloat16")
"""What a network may compute in."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is compared: features of which network, and by which style loss.

    It is structure, not data, and belongs to the targets that are made by it.

    Attributes:
        pooling: the network's pooling, as in `jaxstyle.vgg.features`.
        padding: the border of its first convolution, as in `jaxstyle.vgg.features`.
        style_loss: a key of `jaxstyle.losses.STYLE_LOSSES`.

    Examples:
        Under `jax.jit` an objective is a static argument; it is hashable.

        >>> objective = jaxstyle.losses.Objective(style_loss="mean-std")
        >>> targets = jaxstyle.losses.make_targets(
        ...     vgg, photo, [painting], weights, objective=objective
        ... )
        >>> targets.objective == objective
        True
    """

    pooling: str = "max"
    padding: str = "zero"
    style_loss: str = "gram"


DEFAULT_OBJECTIVE = Objective()
"""That of Gatys et al. (2016), with the pooling that the network was trained with."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How features are computed: in which precision, on which devices, in which parts.

    The loss and its gradient are the same, except for rounding. Each evaluation may be
    executed in its own way, whatever way its targets were made in.

    Attributes:
        precision: what the network computes in, ``"float32"`` or ``"bfloat16"``; the
            precision of the images by default. Moments, losses and the gradient to
            float32 images are in float32 in any case.
        remat: whether the gradient computes each block of the network a second time,
            instead of keeping its activations: the same numbers, for less memory and
            a third more time. Tiles do so without it.
        mesh: devices that share the rows of an image, from
            `jaxstyle.scaling.make_row_mesh`; by default nothing is said of devices.
        tile: the largest side, in pixels, of the tiles in which features are computed,
            one after the other, for less memory and more time; the whole image by
            default.

    Examples:
        Under `jax.jit` it is a static argument, like the objective:

        >>> tiled = jaxstyle.losses.Execution(tile=512)
        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> loss_of = jaxstyle.losses.perceptual_loss
        >>> loss_of = jax.jit(loss_of, static_argnames="execution")
        >>> loss, _ = loss_of(vgg, photo, targets, weights, execution=tiled)
        >>> jnp.allclose(loss, loss_of(vgg, photo, targets, weights)[0])
        Array(True, dtype=bool)
    """

    precision: str | None = None
    remat: bool = False
    mesh: Mesh | None = None
    tile: int | None = None

    def __post_init__(self) -> None:
        """Raise a ValueError for an unknown precision, and for tiles with a mesh."""
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(
                f"no precision {self.precision!r}; known are {', '.join(PRECISIONS)}"
            )
        if self.tile is not None and self.mesh is not None:
            raise ValueError("tile and mesh do not go together; leave out one of them")


DEFAULT_EXECUTION = Execution()
"""Whole images at once, in their own precision."""
