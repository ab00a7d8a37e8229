"""A decoder in closed form: ridge regression between the features of two levels.

From 3x3 positions of relu{k}_1 to the mean of 2x2 positions of relu{k-1}_1, or to one
pixel at k = 1:

    W = (C_xx + r I)^-1 C_xy,    r = 1e-3 of the mean diagonal of C_xx

with covariances over positions of many photographs. Of W the best approximation of a
rank is kept: with the leading eigenvectors V of the predictions' covariance W^T C_xx W,
that is W V V^T (reduced-rank regression; Izenman, 1975).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

RIDGE = 1e-3
"""What is added to the diagonal, as a share of its mean."""

Params = dict[str, Any]


class Moments:
    """Sums over pairs of vectors, batch by batch, of their differences from an origin.

    Products are those of the vectors' own precision, and add up in float64. The origin
    is the mean of the first batch, so that means do not drown what varies.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.count = 0
        self.products = np.zeros((inputs + 1, inputs + 1))
        self.cross = np.zeros((inputs + 1, outputs))

    def add(self, x: Float[np.ndarray, "s i"], y: Float[np.ndarray, "s o"]) -> None:
        """Add pairs; a constant is appended to each x."""
        if self.count == 0:
            self.origin = x.mean(0), y.mean(0)
        x, y = x - self.origin[0], y - self.origin[1]
        x = np.concatenate([x, np.ones_like(x[:, :1])], axis=1)
        self.products += x.T @ x
        self.cross += x.T @ y
        self.count += len(x)

    def means(self) -> tuple[Float[np.ndarray, " i"], Float[np.ndarray, " o"]]:
        """Return the means of x and y."""
        shift_x, shift_y = self._shifts()
        return self.origin[0] + shift_x, self.origin[1] + shift_y

    def covariances(self) -> tuple[Float[np.ndarray, "i i"], Float[np.ndarray, "i o"]]:
        """Return the covariance of x, and that of x and y."""
        shift_x, shift_y = self._shifts()
        products, cross = self.products[:-1, :-1], self.cross[:-1]
        return (
            products / self.count - np.outer(shift_x, shift_x),
            cross / self.count - np.outer(shift_x, shift_y),
        )

    def _shifts(self) -> tuple[Float[np.ndarray, " i"], Float[np.ndarray, " o"]]:
        """Return the means of x and y from the origin on."""
        return self.products[-1, :-1] / self.count, self.cross[-1] / self.count


def solve(moments: Moments) -> Float[np.ndarray, "i o"]:
    """Return the matrix of ridge regression, in float64."""
    covariance, cross = moments.covariances()
    ridge = RIDGE * np.trace(covariance) / len(covariance)
    ridged = covariance + ridge * np.eye(len(covariance))
    weights: np.ndarray = np.linalg.solve(ridged, cross)
    return weights


def reduce_rank(
    weights: Float[np.ndarray, "i o"], moments: Moments, rank: int
) -> tuple[Float[np.ndarray, "i r"], Float[np.ndarray, "r o"]]:
    """Return two factors of the best approximation of a rank to a regression."""
    covariance, _ = moments.covariances()
    _, vectors = np.linalg.eigh(weights.T @ covariance @ weights)
    leading = vectors[:, ::-1][:, :rank]
    return weights @ leading, leading.T


# --- blocks -------------------------------------------------------------------------


def fit_decoder(
    params: Mapping[str, Any],
    batches: Iterable[Sequence[Float[np.ndarray, "n _h _w _c"]]],
    *,
    samples: int,
    seed: int = 0,
) -> Params:
    """Return a decoder's parameters with linear branches in closed form.

    Args:
        params: a decoder's, whose nonlinear branches are kept.
        batches: pixels and the features of all levels, from low to high, of the same
            photographs, whose height and width are multiples of 16.
        samples: how many positions of each level and batch to take, at the most.
        seed: of the positions.
    """
    generator = np.random.default_rng(seed)
    blocks = sorted(params)
    moments: dict[str, Moments] = {}
    for levels in batches:
        for block, below, above in zip(blocks, levels[:-1], levels[1:], strict=True):
            x, y = _sample(above, below, generator, samples)
            found = moments.setdefault(block, Moments(x.shape[1], y.shape[1]))
            found.add(x, y)
    return {block: _fit_block(params[block], moments[block]) for block in blocks}


def _fit_block(params: Mapping[str, Any], moments: Moments) -> Params:
    weights = solve(moments)
    mean_x, mean_y = moments.means()
    channels = len(mean_x) // 9
    mean, std = mean_x.reshape(9, -1).mean(0), _standard_deviations(moments)
    scaled = weights * np.tile(std, 9)[:, None]  # for inputs of variance 1
    # The nine positions' means are not quite the same.
    bias = mean_y + (np.tile(mean, 9) - mean_x) @ weights
    if "conv1" not in params:
        linear: Params = {"kernel": _kernel(scaled, channels), "bias": bias}
    else:
        rank = params["linear"]["reduce"]["bias"].size
        _, expand = reduce_rank(weights, moments, rank)
        linear = {
            "reduce": {
                "kernel": _kernel(scaled @ expand.T, channels),
                "bias": np.zeros(rank),
            },
            "expand": {"kernel": expand, "bias": bias},
        }
    constants = {"mean": mean, "std": std}
    return {**params, **_single({"input": constants, "linear": linear})}


def _kernel(weights: np.ndarray, channels: int) -> np.ndarray:
    return weights.reshape(3, 3, channels, -1)


def _standard_deviations(moments: Moments) -> Float[np.ndarray, " c"]:
    """Return those of each channel; one that is silent is given the least of others."""
    covariance, _ = moments.covariances()
    variances = np.diag(covariance).reshape(9, -1).mean(0)
    deviations: np.ndarray = np.sqrt(np.maximum(variances, 1e-3 * variances.mean()))
    return deviations


def _single(tree: Any) -> Any:
    """Round arrays to float32."""
    if isinstance(tree, dict):
        return {name: _single(value) for name, value in tree.items()}
    return np.asarray(tree, np.float32)


def _sample(
    above: Float[np.ndarray, "n h w c"],
    below: Float[np.ndarray, "n _h _w d"],
    generator: np.random.Generator,
    samples: int,
) -> tuple[Float[np.ndarray, "s 9*c"], Float[np.ndarray, "s d"]]:
    """Return 3x3 positions, and the mean of the block below the middle one of each."""
    n, height, width, channels = above.shape
    total = n * height * width
    chosen = generator.permutation(total)[: min(samples, total)]
    image, row, column = np.unravel_index(chosen, (n, height, width))
    padded = np.pad(above, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    side = below.shape[1] // height
    around = [padded[image, row + i, column + j] for i in range(3) for j in range(3)]
    x = np.stack(around, axis=1).reshape(-1, 9 * channels)
    blocks = below.reshape(n, height, side, width, side, -1).mean((2, 4))
    return x, blocks[image, row, column]
