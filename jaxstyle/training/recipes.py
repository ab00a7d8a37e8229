"""Named settings of training: plain data, importable without JAX."""

from collections.abc import Mapping
from dataclasses import dataclass

# The layers of the presets of style optimization except relu5_1, which adds little and
# takes a third of the time; 64 : 16 : 4 : 1, with a mean of 1.
_SHALLOW_STYLE = {
    layer: 4 * 4.0**-depth / sum(4.0**-d for d in range(4))
    for depth, layer in enumerate(("relu1_1", "relu2_1", "relu3_1", "relu4_1"))
}
_JOHNSON_STYLE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


@dataclass(frozen=True, kw_only=True)
class TrainingPreset:
    """All that shapes a net but the pictures and the seed.

    Attributes:
        summary: what it is, in one line.
        content: weight of the content loss by layer.
        style: weight of the style loss by layer.
        total_variation: weight of the total variation, of squared differences.
        absolute_variation: weight of the absolute variation.
        steps: how many batches the net is trained on.
        batch: photos in a batch.
        size: side of the square crops, in pixels.
        style_size: longer side of the paintings as the VGG sees them, in pixels. It
            sets how large the strokes are.
        learning_rate: of Adam.
        halve_every: after how many steps the learning rate is halved, time and again;
            never where it is ``None``.
        width: channels of the net's first convolution.
        norm: a key of `jaxstyle.nets.transform_net.NORMS`.
        negative_slope: of the leaky ReLU that ends each residual branch: 1 for none, 0
            for a ReLU.
        precision: ``"float32"`` or ``"bfloat16"``, of activations.
        vgg: the network that looks at the pictures, as `jaxstyle.load_vgg` takes it.
        activations: ``"layer"`` or ``"filter"``, the granularity in which mean
            activations are normalized to 1 (see `jaxstyle.vgg.params.normalize`), or
            ``"raw"``.
        pooling: a key of `jaxstyle.vgg.pooling.POOLINGS`.
        padding: of the network's first convolution, a key of
            `jaxstyle.vgg.network.BORDERS`.
        style_loss: a key of `jaxstyle.losses.style.STYLE_LOSSES`.
        stability: weight of what noise in a photo changes in the picture.
    """

    summary: str
    content: Mapping[str, float]
    style: Mapping[str, float]
    total_variation: float = 0.0
    absolute_variation: float = 0.0
    steps: int = 40_000
    batch: int = 4
    size: int = 256
    style_size: int = 384
    learning_rate: float = 1e-3
    halve_every: int | None = None
    width: int = 32
    norm: str = "affine"
    negative_slope: float = 1.0
    precision: str = "float32"
    vgg: str = "vgg16"
    activations: str = "layer"
    pooling: str = "max"
    padding: str = "zero"
    style_loss: str = "gram"
    stability: float = 0.0


# The seed adds up the absolute differences between neighbors over a batch of four
# 256x256 crops whose pixels are divided by ImageNet's standard deviations, of mean
# 0.226, and weighs the sum with 1e-6. Ours is the mean over one image of pixels in
# [0, 1], which is averaged over the batch. Each direction has 3 * 255 * 256
# differences, so the same loss is  1e-6 * 4 * 3 * 255 * 256 / 0.226 = 3.47  times ours.
_SEED_VARIATION = 1e-6 * 4 * 3 * 255 * 256 / 0.226

TRAINING_PRESETS: Mapping[str, TrainingPreset] = {
    "default": TrainingPreset(
        summary="Wasserstein distances instead of Gram matrices: lively colors",
        content={"relu3_3": 0.25},
        style=_SHALLOW_STYLE,
        style_size=512,
        style_loss="wasserstein",
        padding="replicate",
    ),
    "johnson2016": TrainingPreset(
        summary="Johnson et al. (2016) with instance norm: 40,000 steps",
        content={"relu2_2": 1.0},
        style=dict.fromkeys(_JOHNSON_STYLE, 1e5),
    ),
    "seed": TrainingPreset(
        summary="the settings jaxstyle grew from: 8,000 steps, smoother",
        content={"relu2_2": 1.0},
        style=dict.fromkeys(_JOHNSON_STYLE, 1e5),
        absolute_variation=_SEED_VARIATION,
        steps=8_000,
        halve_every=1_000,
        norm="instance",
        negative_slope=0.0,
    ),
}
