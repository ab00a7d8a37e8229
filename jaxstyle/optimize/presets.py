"""Named settings of style optimization: plain data, importable without JAX."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

_JOHNSON_STYLE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
_GATYS_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# Crowson's 256 : 64 : 16 : 4 : 1, with a mean of 1.
_SHALLOW_STYLE = {
    layer: 5 * 4.0**-depth / sum(4.0**-d for d in range(5))
    for depth, layer in enumerate(_GATYS_STYLE)
}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """All that shapes the picture but the images: settings of ``jaxstyle optimize``.

    Attributes:
        summary: what it is, in one line.
        content: weight of the content loss by layer.
        style: weight of the style loss by layer.
        isotropic_variation: weight of the nine-point total variation.
        init: the image to start from: ``"content"``, ``"noise"``, ``"gray"`` or
            ``"style-stats"``, noise in the style's colors.
        steps: how many times the loss and its gradient are evaluated, at all scales
            together.
        coarsest: the least longer side of a scale, in pixels; ``None`` for one scale.
        ratio: how many times as large as the scale before each scale is.
        finest: how many times as many steps the last scale gets as those before it.
        optimizer: ``"lbfgs"`` or ``"adam"``, for `jaxstyle.optimize.lbfgs` or
            `jaxstyle.optimize.adam`.
        keep: which picture is kept, ``"best"`` or ``"average"``, for
            `jaxstyle.optimize.keep_best` or `jaxstyle.optimize.keep_average`.
        style_loss: a key of `jaxstyle.losses.STYLE_LOSSES`.
        vgg: the network, as `jaxstyle.load_vgg` takes it.
        activations: ``"layer"`` or ``"filter"``, the granularity in which mean
            activations are normalized to 1 (see `jaxstyle.vgg.normalize`), or
            ``"raw"``.
        pooling: the network's pooling, as in `jaxstyle.vgg.features`.
        padding: of the network's first convolution, as in `jaxstyle.vgg.features`.

    Examples:
        >>> preset = jaxstyle.optimize.PRESETS["default"]
        >>> sizes = jaxstyle.optimize.pyramid_sizes
        >>> sizes(512, smallest=preset.coarsest, ratio=preset.ratio)
        (128, 256, 512)
    """

    summary: str
    content: Mapping[str, float]
    style: Mapping[str, float]
    isotropic_variation: float = 0.0
    init: str = "content"
    steps: int = 300
    coarsest: int | None = None
    ratio: float = math.sqrt(2)
    finest: int = 1
    optimizer: str = "lbfgs"
    keep: str = "best"
    style_loss: str = "gram"
    vgg: str = "vgg16"
    activations: str = "layer"
    pooling: str = "max"
    padding: str = "zero"


_DEFAULT = Preset(
    summary="strong style, the photo still easy to read; needs no tuning",
    content={"relu4_2": 0.075},
    style=_SHALLOW_STYLE,
    isotropic_variation=10.0,
    steps=100,
    coarsest=128,
    ratio=2.0,
    finest=7,
    style_loss="wasserstein",
    padding="replicate",
)

PRESETS: Mapping[str, Preset] = {
    "default": _DEFAULT,
    "crowson": replace(
        _DEFAULT,
        summary="Crowson's style-transfer-pytorch on VGG-16: Adam, averaged, slow",
        steps=3000,
        ratio=math.sqrt(2),
        finest=1,
        optimizer="adam",
        keep="average",
    ),
    "gatys2016": Preset(
        summary="the released code of Gatys et al. (2016), on VGG-19",
        content={"relu4_2": 1.0},
        style=dict.fromkeys(_GATYS_STYLE, 1e3),
        steps=500,
        vgg="vgg19",
        activations="filter",
    ),
    "johnson2016": Preset(
        summary="the layers and weights of Johnson et al. (2016)",
        content={"relu3_3": 1.0},
        style=dict.fromkeys(_JOHNSON_STYLE, 5.0),
        activations="raw",
    ),
    "seed": Preset(
        summary="the settings jaxstyle grew from: the wildest, style 1e7",
        content={"relu3_3": 0.5},
        style=dict.fromkeys(_JOHNSON_STYLE, 1e7),
    ),
    "seed-noise": Preset(
        summary="the same from noise, with style 1e5",
        content={"relu3_3": 0.5},
        style=dict.fromkeys(_JOHNSON_STYLE, 1e5),
        init="noise",
    ),
}
"""The presets by name."""
