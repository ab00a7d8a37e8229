"""The settings of training, and presets: plain data, importable without JAX."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxstyle.losses.config import (
    JOHNSON_STYLE,
    LossConfig,
    documented,
    nonnegative_float,
    nonnegative_int,
    option,
    positive_float,
    setting,
)

# The layers of the presets of style optimization except relu5_1, which adds little and
# takes a third of the time.
_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")

# Between a photo and a painting, distances are of one size in all layers, in units of
# the layers' own activations, so that equal weights are balanced.
_BALANCED = LossConfig(
    content={"relu4_1": 1.0},
    style=dict.fromkeys(_STYLE, 1.0),
    style_loss="wasserstein",
    scales=2,
    padding="replicate",
)


@documented
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All that shapes a net except the images and the seed."""

    summary: str = setting("", "what the preset is, in one line")
    style_size: int = option(
        384,
        "the paintings' longer side: larger gives larger strokes",
        metavar="PIXELS",
        group="net and pictures",
    )
    size: int = option(256, "the side of the square crops of photos", metavar="PIXELS")
    init: str | None = option(
        None,
        "start from the net of another style, shipped, a file or "
        "hf:USER/REPO[@REVISION], which takes far fewer steps than a new net; or from "
        "the net that a net of many styles predicts for the painting",
        metavar="STYLE",
    )
    width: int = option(32, "channels of the net's first layer")
    norm: str = option(
        "affine", "how the net normalizes", choices=("affine", "instance", "batch")
    )
    negative_slope: float = setting(
        1.0,
        "of the leaky ReLU that ends each residual branch: 1 for none, 0 for a ReLU",
    )
    upsampling: str = option(
        "nearest",
        "how the net enlarges: bilinear keeps textures off a grid of pixels",
        choices=("nearest", "bilinear"),
    )
    noise: int = option(
        0,
        "channels of noise beside the photo, for strokes in flat colors",
        parse=nonnegative_int,
    )
    predict: str = option(
        "norms",
        "what of a net of many styles is predicted: the scales and biases of norms, or "
        "the kernels of all inner layers",
        choices=("norms", "kernels"),
    )
    hold: int = setting(
        10, "steps for which a batch of paintings stays the same, if there are many"
    )
    only: str = option(
        "net",
        "what is trained: the net, or its norms alone, so that it keeps the trunk that "
        "styles share",
        choices=("net", "norms"),
    )
    precision: str = option(
        "float32", "of activations", choices=("float32", "bfloat16")
    )
    stability: float = option(
        0.0,
        "weight of how much noise in a photo changes the picture: more flickers less "
        "from frame to frame in videos, and a step takes longer",
        metavar="W",
        parse=nonnegative_float,
    )
    loss: LossConfig = field(metadata={"help": "what is minimized"})
    steps: int = option(40_000, "how many batches to train on", group="steps")
    batch: int = option(4, "photos in a batch, which all devices share")
    learning_rate: float = option(1e-3, "of Adam", metavar="RATE", parse=positive_float)
    halve_every: int | None = option(None, "halve the learning rate every N steps")


# The seed adds up the absolute differences between neighbors over a batch of four
# 256x256 crops whose pixels are divided by ImageNet's standard deviations, of mean
# 0.226, and weighs the sum with 1e-6. Ours is the mean over one image of pixels in
# [0, 1], which is averaged over the batch. Each direction has 3 * 255 * 256
# differences, so the same loss is  1e-6 * 4 * 3 * 255 * 256 / 0.226 = 3.47  times ours.
_SEED_VARIATION = 1e-6 * 4 * 3 * 255 * 256 / 0.226

TRAINING_PRESETS: Mapping[str, TrainConfig] = {
    "default": TrainConfig(
        summary="minutes on two CPU cores: from what the shipped trunk predicts",
        loss=_BALANCED,
        init="trunk-32",
        style_size=512,
        size=160,
        upsampling="bilinear",
        noise=2,
        steps=120,
        learning_rate=5e-4,
        halve_every=60,
    ),
    "alone": TrainConfig(
        summary="a new net of one style, or of many: 40,000 steps",
        loss=_BALANCED,
        style_size=512,
        upsampling="bilinear",
        noise=2,
    ),
    "johnson2016": TrainConfig(
        summary="Johnson et al. (2016) with instance norm: 40,000 steps",
        loss=LossConfig(
            content={"relu2_2": 1.0}, style=dict.fromkeys(JOHNSON_STYLE, 1e5)
        ),
    ),
    "seed": TrainConfig(
        summary="the settings jaxstyle grew from: 8,000 steps, smoother",
        loss=LossConfig(
            content={"relu2_2": 1.0},
            style=dict.fromkeys(JOHNSON_STYLE, 1e5),
            variation={"absolute": _SEED_VARIATION},
        ),
        steps=8_000,
        halve_every=1_000,
        norm="instance",
        negative_slope=0.0,
    ),
    "shen2018": TrainConfig(
        summary="Shen et al. (2018): many styles, by predicting kernels",
        loss=LossConfig(
            content={"relu3_3": 1.0},
            style=dict.fromkeys(JOHNSON_STYLE, 250.0),
            variation={"total": 10.0},
            style_loss="mean-std",
        ),
        steps=600_000,
        batch=8,
        width=8,
        norm="instance",
        predict="kernels",
    ),
}
"""The presets by name."""
