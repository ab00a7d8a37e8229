"""Styles that the command line names."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax

from jaxstyle.files.image_decoding import SUFFIXES, check_exists
from jaxstyle.files.param_files import load_header
from jaxstyle.files.style_files import (
    ALL,
    find_style,
    find_styles,
    is_painting,
    is_shipped,
    load_style_file,
)
from jaxstyle.files.web_images import is_address, local_image
from jaxstyle.losses.config import nonnegative_float
from jaxstyle.nets.mixtures import check_related, mix_styles
from jaxstyle.nets.networks import NETWORKS, TRANSFORM, Network, find_network
from jaxstyle.nets.transform_net import Params

Shares: TypeAlias = Mapping[Path, float]
"""The files of a mixture, or of a single style, and the share of each."""

# The place of a file of the repository USER/REPO in huggingface_hub's cache.
_IN_HUB_CACHE = re.compile(r"/models--.+?--([^/]+)/snapshots/[^/]+/style.safetensors$")


class Style(NamedTuple):
    """A trained net, with the files it was read from and a name for labels."""

    name: str
    paths: tuple[Path, ...]
    params: Params
    network: Network = NETWORKS[TRANSFORM]


def load_styles(
    wanted: Sequence[str], load: Callable[[Shares], Style] | None = None
) -> list[Style]:
    """Read styles, mixtures, or ``all`` that ship; what is given twice is read once.

    ``load`` reads a mixture, of nets by default. A ValueError says if there is no such
    style, a file is damaged or not a style, two styles have one name, or the styles of
    a mixture cannot be mixed.
    """
    found: dict[Any, Shares] = {}
    for text in wanted:
        if text == ALL:
            mixtures: list[Shares] = [{path: 1.0} for path in find_styles([ALL])]
        else:
            mixtures = [parse_mixture(text)]
        for shares in mixtures:
            whole = sum(shares.values())
            key = [(path.resolve(), share / whole) for path, share in shares.items()]
            found.setdefault(tuple(key), shares)  # equal keys give the same net
    names = [mixture_name(shares) for shares in found.values()]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two styles are called {name}; rename one of the files")
    return list(map(load or load_net, found.values()))


def parse_mixture(text: str) -> Shares:
    """Parse ``STYLE``, ``STYLE+STYLE`` or ``STYLE=NUMBER+STYLE=NUMBER``.

    A file whose own name looks like a mixture is read as that file. A style given twice
    counts twice. What follows a ``+`` in an address is part of it, unless it begins
    another address or is the name of a style or of a file.
    """
    parts = _split_mixture(text)
    if len(parts) == 1 and (is_address(text) or "+" not in text):
        return {_find(text): 1.0}
    if Path(text).exists():
        return {_find(text): 1.0}
    shares: dict[Path, float] = {}
    for part in parts:
        path, share = _parse_part(part)
        shares[path] = shares.get(path, 0.0) + share
    if not any(shares.values()):
        raise ValueError(f"expected a share above 0, got {text}")
    return shares


def _split_mixture(text: str) -> list[str]:
    """Split at each ``+`` that is not within an address."""
    parts: list[str] = []
    for part in text.split("+"):
        within = parts and is_address(parts[-1]) and not is_address(part)
        name = part.rpartition("=")[0] or part
        if within and not is_shipped(name) and not Path(name).exists():
            parts[-1] += f"+{part}"
        else:
            parts.append(part)
    return parts


def _parse_part(part: str) -> tuple[Path, float]:
    style, equals, number = part.rpartition("=")
    if (
        not equals
        or Path(part).exists()
        or (is_address(part) and not _is_share(number))
    ):
        style, number = part, "1"
    if not style:
        raise ValueError(
            f"expected STYLE+STYLE or STYLE=NUMBER+STYLE=NUMBER, got {part!r} for one "
            "of the styles"
        )
    try:
        return _find(style), nonnegative_float(number)
    except ValueError as error:
        raise ValueError(f"the share of {style}: {error}") from error


def _is_share(text: str) -> bool:
    """Test whether a text is a number, and no part of an address."""
    return text.replace(".", "", 1).isdecimal()


def _find(style: str) -> Path:
    """Locate the file of a style; a ValueError if there is none."""
    if is_address(style):
        return local_image(style)
    if Path(style).suffix.lower() in SUFFIXES:
        check_exists(style)
    return find_style(style)


def is_painted(path: Path) -> bool:
    """Test whether a style is an image, or a file that describes a painting."""
    if path.suffix.lower() in SUFFIXES:
        return True
    return path.is_file() and is_painting(load_header(path)[1])


def mixture_name(shares: Shares) -> str:
    """Name a mixture ``wave+udnie``, or ``wave=3+udnie=1`` if the shares differ."""
    if len(set(shares.values())) == 1:
        return "+".join(map(_style_name, shares))
    return "+".join(f"{_style_name(path)}={shares[path]:g}" for path in shares)


def _style_name(path: Path) -> str:
    """Name ``wave.safetensors`` and ``wave/style.safetensors`` ``wave``.

    A file fetched from the hub's repository ``user/wave`` is named ``wave``, too.
    """
    if fetched := _IN_HUB_CACHE.search(path.as_posix()):
        return fetched[1]
    if path.stem == "style":
        return path.resolve().parent.name or path.stem
    return path.stem


def load_net(shares: Shares) -> Style:
    """Read a net, or mix several."""
    nets, metadata = zip(*map(load_style_file, shares), strict=True)
    networks = [find_network(each) for each in metadata]
    params = nets[0] if len(nets) == 1 else _mix(nets, networks, shares)
    return Style(
        mixture_name(shares), tuple(shares), jax.device_put(params), networks[0]
    )


def _mix(nets: Sequence[Params], networks: Sequence[Network], shares: Shares) -> Params:
    names = ", ".join(map(_style_name, shares))
    if any(network is not networks[0] for network in networks):
        raise ValueError(f"cannot mix {names}: they are different kinds of networks")
    try:
        check_related(nets)
    except ValueError as error:
        raise ValueError(f"cannot mix {names}: {error}") from error
    return jax.jit(mix_styles)(nets, list(shares.values()))
