"""Both transform nets that are known from PyTorch, to compare with.

Written from their description, independently of this package's code, for batches
``[n, 3, h, w]`` in the pixels of each: 0 to 255 for `TransformerNet`, normalized as for
ImageNet for `SeedNet`. Height and width are multiples of four. The names of their
parameters are those of the checkpoints that are in circulation.
"""

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


# --- pytorch/examples ---------------------------------------------------------------


class PaddedConv(nn.Module):  # type: ignore[misc]
    """Upsampling by repetition, reflection padding, a convolution."""

    def __init__(
        self, width_in: int, width: int, size: int, *, stride: int = 1, scale: int = 1
    ) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=scale) if scale > 1 else nn.Identity()
        self.pad = nn.ReflectionPad2d(size // 2)
        self.conv2d = nn.Conv2d(width_in, width, size, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of ``[n, c, h, w]``."""
        y: Tensor = self.conv2d(self.pad(self.upsample(x)))
        return y


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """Two convolutions with affine norms; no ReLU after the second."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = PaddedConv(width, width, 3)
        self.in1 = nn.InstanceNorm2d(width, affine=True)
        self.conv2 = PaddedConv(width, width, 3)
        self.in2 = nn.InstanceNorm2d(width, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and what the block adds to it."""
        y: Tensor = self.in2(self.conv2(torch.relu(self.in1(self.conv1(x)))))
        return x + y


class TransformerNet(nn.Module):  # type: ignore[misc]
    """The net of pytorch/examples: pixels from 0 to 255, in and out."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = width, 2 * width, 4 * width
        self.conv1 = PaddedConv(3, widths[0], 9)
        self.in1 = nn.InstanceNorm2d(widths[0], affine=True)
        self.conv2 = PaddedConv(widths[0], widths[1], 3, stride=2)
        self.in2 = nn.InstanceNorm2d(widths[1], affine=True)
        self.conv3 = PaddedConv(widths[1], widths[2], 3, stride=2)
        self.in3 = nn.InstanceNorm2d(widths[2], affine=True)
        for i in range(1, 6):
            setattr(self, f"res{i}", ResidualBlock(widths[2]))
        self.deconv1 = PaddedConv(widths[2], widths[1], 3, scale=2)
        self.in4 = nn.InstanceNorm2d(widths[1], affine=True)
        self.deconv2 = PaddedConv(widths[1], widths[0], 3, scale=2)
        self.in5 = nn.InstanceNorm2d(widths[0], affine=True)
        self.deconv3 = PaddedConv(widths[0], 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        """Return the stylized batch."""
        for i in (1, 2, 3):
            convolution, norm = getattr(self, f"conv{i}"), getattr(self, f"in{i}")
            x = torch.relu(norm(convolution(x)))
        for i in range(1, 6):
            x = getattr(self, f"res{i}")(x)
        x = torch.relu(self.in4(self.deconv1(x)))
        x = torch.relu(self.in5(self.deconv2(x)))
        y: Tensor = self.deconv3(x)
        return y


# --- the seed implementation --------------------------------------------------------


def conv_layers(
    width_in: int, width: int, size: int, *, stride: int = 1
) -> list[nn.Module]:
    """Return reflection padding and a convolution."""
    return [
        nn.ReflectionPad2d(size // 2),
        nn.Conv2d(width_in, width, size, stride),
    ]


def normed(width: int) -> list[nn.Module]:
    """Return a norm without parameters and a ReLU."""
    return [nn.InstanceNorm2d(width), nn.ReLU()]


class SeedBlock(nn.Module):  # type: ignore[misc]
    """Two convolutions with plain norms, and a ReLU after each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [*conv_layers(width, width, 3), *normed(width)]
        layers += [*conv_layers(width, width, 3), *normed(width)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and what the block adds to it."""
        y: Tensor = self.conv(x)
        return x + y


class SeedNet(nn.Module):  # type: ignore[misc]
    """The net of the seed implementation: ImageNet-normalized pixels, in and out."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = width, 2 * width, 4 * width
        self.downsampling = nn.Sequential(
            *conv_layers(3, widths[0], 9),
            *normed(widths[0]),
            *conv_layers(widths[0], widths[1], 3, stride=2),
            *normed(widths[1]),
            *conv_layers(widths[1], widths[2], 3, stride=2),
            *normed(widths[2]),
        )
        self.residuals = nn.Sequential(*(SeedBlock(widths[2]) for _ in range(5)))
        self.upsampling = nn.Sequential(
            nn.Upsample(scale_factor=2),
            *conv_layers(widths[2], widths[1], 3),
            *normed(widths[1]),
            nn.Upsample(scale_factor=2),
            *conv_layers(widths[1], widths[0], 3),
            *normed(widths[0]),
            *conv_layers(widths[0], 3, 9),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the stylized batch."""
        y: Tensor = self.upsampling(self.residuals(self.downsampling(x)))
        return y


def run_net(net: nn.Module, images: Tensor) -> Tensor:
    """Stylize a batch ``[n, 3, h, w]`` in [0, 1] with either net, unclipped."""
    if isinstance(net, SeedNet):
        mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
        std = torch.tensor(IMAGENET_STD)[:, None, None]
        y: Tensor = net((images - mean) / std)
        return y * std + mean
    y = net(255 * images)
    return y / 255
