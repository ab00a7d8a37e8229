"""The motion between frames, by OpenCV's dense inverse search.

Source: Kroeger et al. (2016), "Fast optical flow using dense inverse search".
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from jaxstyle.video.motion import Motion, match_flows

SMALLEST = 32
"""The least height and width of frames in which it finds anything."""

_match = jax.jit(match_flows)


def check_flow() -> None:
    """Raise a ValueError unless OpenCV is installed."""
    try:
        import cv2
    except ImportError as error:
        raise ValueError(
            "optical flow needs OpenCV: pip install 'jaxstyle[video]'; or give "
            "--blend 0, which needs none"
        ) from error
    del cv2


def find_motion(
    pixels: UInt8[np.ndarray, "h w 3"], before: UInt8[np.ndarray, "h w 3"]
) -> Motion:
    """Find the motion of a frame since the one before."""
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    frames = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (pixels, before)]
    if min(pixels.shape[:2]) < SMALLEST:
        flows = [np.zeros((*pixels.shape[:2], 2), np.float32)] * 2
    else:
        flows = [_flow(search, *pair) for pair in (frames, frames[::-1])]
    images = (np.divide(x, 255, dtype=np.float32) for x in (pixels, before))
    return _match(*images, *flows)


def _flow(search: Any, frame: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Find where another frame shows what this one shows, in rows and columns."""
    across_and_down = search.calc(frame, other, None)
    return np.ascontiguousarray(across_and_down[..., ::-1])
