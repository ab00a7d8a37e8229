"""Styles of both kinds that the command line names: nets and paintings."""

from jaxstyle.cli.loading import Shares, Style, is_painted, load_net, mixture_name


def load_mixture(shares: Shares, *, size: int, strength: float = 1.0) -> Style:
    """Read a mixture of nets, or one of paintings; see `load_painted` for the numbers.

    Only paintings need Flax, which takes half a second to import. A ValueError says
    if there are both, besides what is wrong with one.
    """
    painted = {is_painted(path) for path in shares}
    if len(painted) > 1:
        raise ValueError(
            f"cannot mix {mixture_name(shares)}: a painting and a net; mix paintings "
            "with paintings"
        )
    if False in painted:
        return load_net(shares)
    from jaxstyle.cli.painted_styles import load_painted

    return load_painted(shares, size=size, strength=strength)
