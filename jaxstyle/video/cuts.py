"""Where one shot of a film ends and the next begins."""

from collections.abc import Sequence

LEAST = 0.04
"""The least mean difference between the frames around a cut, of pixels in [0, 1]."""

RATIO = 2.5
"""How many times as much as the frames around it a cut differs."""


def is_cut(difference: float, around: Sequence[float]) -> bool:
    """Tell a cut from motion and flashes, which show in more than one difference.

    A cut is a difference that stands out among those around it::

        d > 0.04    and    d > 2.5 max(around)

    Source: the adaptive detector of PySceneDetect, with the greatest difference instead
    of the mean.

    Args:
        difference: the mean absolute difference of pixels in [0, 1] between a frame and
            the one before.
        around: the same for two frames before and two frames after it, as far as there
            are any.

    Returns:
        Whether a shot begins with the frame.

    Examples:
        >>> jaxstyle.video.is_cut(0.2, [0.01, 0.02, 0.01, 0.01])
        True
        >>> jaxstyle.video.is_cut(0.2, [0.2, 0.1, 0.2, 0.2])  # a fast pan
        False
    """
    return difference > max([LEAST, *(RATIO * other for other in around)])
