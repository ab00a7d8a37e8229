"""How much of a picture repeats itself at the periods of a net's upsampling."""

import numpy as np
from defects import LUMA, Picture
from jaxtyping import Float

BLOCK = 64
"""The side of the blocks whose spectra are averaged."""

ASIDE = range(3, 7)
"""The distances of neighboring frequencies, in cycles per block."""


def checkerboard(picture: Picture, *, period: int) -> float:
    """Return how far a period of the net's upsampling rises above its surroundings, dB.

    P is the power spectrum of the luma, averaged over blocks under Hann's window that
    overlap by half. With f = 1 / period, it is the greatest value at the frequencies
    (f, 0), (0, f) and (f, f) of

        10 (log10 P(frequency) - mean of log10 P around it)

    Around it are the frequencies `ASIDE` along the axes on which it is not 0, so that
    the horizontals and verticals of a photo count alike in both. Texture gives about 0.

    Args:
        picture: of `BLOCK` pixels or more a side.
        period: in pixels, a divisor of `BLOCK`.
    """
    decibels = 10 * np.log10(_power(picture @ np.array(LUMA)) + 1e-20)
    at = BLOCK // period
    return max(_rise(decibels, y, x) for y, x in ((0, at), (at, 0), (at, at)))


def _power(luma: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "BLOCK BLOCK"]:
    window = np.hanning(BLOCK + 1)[:-1]
    step = BLOCK // 2
    blocks = np.lib.stride_tricks.sliding_window_view(luma, (BLOCK, BLOCK))
    blocks = blocks[::step, ::step]
    centerd = blocks - blocks.mean((-2, -1), keepdims=True)
    spectra = np.fft.fft2(centerd * np.outer(window, window))
    power: np.ndarray = np.square(np.abs(spectra)).mean((0, 1))
    return power


def _rise(decibels: Float[np.ndarray, "BLOCK BLOCK"], y: int, x: int) -> float:
    shifts = [sign * aside for aside in ASIDE for sign in (-1, 1)]
    along_y = [decibels[(y + shift) % BLOCK, x] for shift in shifts if y]
    along_x = [decibels[y, (x + shift) % BLOCK] for shift in shifts if x]
    return float(decibels[y, x] - np.mean(along_y + along_x))
