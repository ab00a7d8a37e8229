"""The settings of style optimization, and presets: plain data, importable without JAX.

A new option of ``jaxstyle optimize`` is one line here, a field of `OptimizeConfig`: the
command line, its help, the presets, the record in each picture and the check of a
resumed run follow from it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jaxstyle.losses.config import (
    JOHNSON_STYLE,
    LossConfig,
    documented,
    fraction,
    option,
    positive_float,
    setting,
    weigh_shallow,
)

if TYPE_CHECKING:
    from jaxstyle.losses.objective import Weights

_GATYS_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@documented
@dataclass(frozen=True, kw_only=True)
class OptimizeConfig:
    """All that shapes a picture except the images and the seed.

    Examples:
        >>> from functools import partial
        >>> config = jaxstyle.optimize.PRESETS["default"]
        >>> sizes = jaxstyle.optimize.pyramid_sizes
        >>> sizes(512, smallest=config.coarsest, ratio=config.ratio)
        (128, 256, 512)

        The picture that the command line makes by default, for a VGG that is normalized
        and has all layers; `dataclasses.replace` changes a setting:

        >>> paint = partial(jaxstyle.optimize_image, **config.arguments())
        >>> vgg16 = jaxstyle.vgg.normalize(jaxstyle.load_vgg())
        >>> picture, _ = jax.eval_shape(paint, vgg16, photo, [painting])
        >>> picture.shape
        (512, 512, 3)
    """

    summary: str = setting("", "what the preset is, in one line")
    size: int = option(
        512, "the picture's longer side", metavar="PIXELS", group="picture"
    )
    strength: float = option(
        0.5, "from 0, faint, to 1, wild", metavar="S", parse=fraction, sweep=True
    )
    style_scale: float = option(
        1.0,
        "the paintings' longer side relative to the picture's: more gives larger "
        "strokes, as far as the paintings are large enough",
        metavar="X",
        parse=positive_float,
        exclusive="strokes",
    )
    style_size: int | None = option(
        None, "the same in pixels", metavar="PIXELS", exclusive="strokes"
    )
    init: str = option(
        "content",
        "the image to start from: content, noise, gray, style-stats, transport (as "
        "stylize paints it), or a file",
        metavar="NAME|IMAGE",
    )
    preserve_color: bool = option(
        False,
        "keep the photo's colors: only its brightness is painted",
        group="colors and regions",
    )
    match_color: str | None = option(
        None,
        "give the paintings the photo's colors first: the mean and covariance of its "
        "pixels, or the histograms",
        choices=("covariance", "histogram"),
    )
    loss: LossConfig = field(metadata={"help": "what is minimized"})
    steps: int = option(
        300,
        "how many times the loss is evaluated, at all scales together",
        group="optimization",
    )
    coarsest: int | None = option(
        None,
        "the longer side of the coarsest scale; that of the picture for a single scale",
        metavar="PIXELS",
    )
    ratio: float = setting(
        math.sqrt(2), "the size of each scale relative to the one before"
    )
    last_scale_factor: int = setting(
        1, "the steps of the last scale relative to those before it"
    )
    optimizer: str = option(
        "lbfgs", "the method that updates the pixels", choices=("lbfgs", "adam")
    )
    keep: str = option(
        "best",
        "which picture is kept: the one with the lowest loss, or the average of the "
        "last ones",
        choices=("best", "average"),
    )
    learning_rate: float | None = option(
        None, "of adam (default: 0.02)", metavar="RATE", parse=positive_float
    )
    history: int | None = option(
        None,
        "how many past steps shape the next one of lbfgs; each takes the memory of two "
        "pictures (default: 20)",
    )
    precision: str = option(
        "float32",
        "what the network computes in; on GPUs and TPUs, bfloat16 is faster and takes "
        "less memory",
        choices=("float32", "bfloat16"),
    )

    @property
    def relative_style_size(self) -> float:
        """The paintings' longer side relative to the picture's."""
        return (
            self.style_scale if self.style_size is None else self.style_size / self.size
        )

    def weights(self) -> "Weights":
        """Make the weights of the loss.

        The strength multiplies those of the style: by 1/100 at 0, by 1 at 0.5, and by
        100 at 1.
        """
        factor = 100 ** (2 * self.strength - 1)
        style = {layer: factor * x for layer, x in self.loss.style.items()}
        return replace(self.loss, style=style).weights()

    def arguments(self) -> dict[str, Any]:
        """List the arguments by which `jaxstyle.optimize_image` makes this picture.

        All but the network, the images and what is made of these: ``init`` is the
        content, and colors are neither preserved nor matched.
        """
        from jaxstyle.losses.extractor import Execution
        from jaxstyle.optimize.optimizers import KEEPERS, OPTIMIZERS
        from jaxstyle.optimize.pyramid import pyramid_sizes

        given = {"learning_rate": self.learning_rate, "memory_size": self.history}
        options = {name: value for name, value in given.items() if value is not None}
        smallest = self.size if self.coarsest is None else self.coarsest
        return {
            "weights": self.weights(),
            "objective": self.loss.objective(),
            "steps": self.steps,
            "sizes": pyramid_sizes(self.size, smallest=smallest, ratio=self.ratio),
            "last_scale_factor": self.last_scale_factor,
            "style_scale": self.relative_style_size,
            "style_weights": self.loss.blend,
            "optimizer": OPTIMIZERS[self.optimizer](**options),
            "keeper": KEEPERS[self.keep](),
            "execution": Execution(precision=self.precision),
        }


_DEFAULT = OptimizeConfig(
    summary="strong style, the photo still easy to read; needs no tuning",
    loss=LossConfig(
        content={"relu4_2": 0.075},
        style=weigh_shallow(_GATYS_STYLE),
        variation={"isotropic": 10.0},
        style_loss="wasserstein",
        padding="replicate",
    ),
    steps=90,
    coarsest=128,
    ratio=2.0,
    last_scale_factor=6,
)
_NO_VARIATION = {"isotropic": 0.0}

PRESETS: Mapping[str, OptimizeConfig] = {
    "default": _DEFAULT,
    "crowson": replace(
        _DEFAULT,
        summary="Crowson's style-transfer-pytorch on VGG-16: Adam, averaged, slow",
        steps=3000,
        ratio=math.sqrt(2),
        last_scale_factor=1,
        optimizer="adam",
        keep="average",
    ),
    "gatys2016": OptimizeConfig(
        summary="the released code of Gatys et al. (2016), on VGG-19",
        loss=LossConfig(
            content={"relu4_2": 1.0},
            style=dict.fromkeys(_GATYS_STYLE, 1e3),
            variation=_NO_VARIATION,
            vgg="vgg19",
            activations="filter",
        ),
        steps=500,
    ),
    "johnson2016": OptimizeConfig(
        summary="the layers and weights of Johnson et al. (2016)",
        loss=LossConfig(
            content={"relu3_3": 1.0},
            style=dict.fromkeys(JOHNSON_STYLE, 5.0),
            variation=_NO_VARIATION,
            activations="raw",
        ),
    ),
    "seed": OptimizeConfig(
        summary="the settings jaxstyle grew from: the wildest, style 1e7",
        loss=LossConfig(
            content={"relu3_3": 0.5},
            style=dict.fromkeys(JOHNSON_STYLE, 1e7),
            variation=_NO_VARIATION,
        ),
    ),
    "seed-noise": OptimizeConfig(
        summary="the same from noise, with style 1e5",
        loss=LossConfig(
            content={"relu3_3": 0.5},
            style=dict.fromkeys(JOHNSON_STYLE, 1e5),
            variation=_NO_VARIATION,
        ),
        init="noise",
    ),
}
"""The presets by name."""
