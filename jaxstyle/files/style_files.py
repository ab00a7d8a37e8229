"""Style files: the parameters of one trained transform net, and where it is from.

Beside them lie the files of paintings, which `jaxstyle.files.transport_files` reads.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from statistics import mode
from typing import Any

from jaxstyle.files import param_files
from jaxstyle.files.hub import FORM, is_address, pull_style

FORMAT = {"format": "jaxstyle-style", "format_version": "1"}
"""What marks a style in the metadata of a file."""

PAINTING = {"format": "jaxstyle-painting", "format_version": "1"}
"""The mark of files that describe a painting."""

TRUNK = {"format": "jaxstyle-trunk", "format_version": "1"}
"""The mark of files with a net of many styles."""

ITS_TRUNK = "trunk"
"""The metadata with the digest of the trunk that a style needs, or a trunk file has."""

MAKERS = "jaxstyle train or jaxstyle import"
"""The commands that make styles."""

ALL = "all"
"""The name of all shipped nets, without the smaller ones."""

SMALLER = re.compile(r".+-\d+")
"""The names of smaller nets end in their width, as in ``great-wave-8``."""


def save_style(
    params: Mapping[str, Any],
    path: str | Path,
    *,
    metadata: Mapping[str, str],
    trunk: str | Path | None = None,
) -> None:
    """Write a net's parameters to a new or replaced file.

    Args:
        params: of `jaxstyle.nets.init_net`, or of another network.
        path: the file.
        metadata: facts about the net; ``format`` and ``format_version`` are added.
            ``net`` names its network in `jaxstyle.nets.NETWORKS`, unless it is a
            transform net.
        trunk: the file of a net of many styles that the net has the trunk of. What is
            written are the scales and biases of norms alone, 13 kB for a net of width
            32; to be read, the file needs that trunk: a shipped one, or
            ``trunk.safetensors`` beside it.

    Examples:
        >>> jaxstyle.save_style(net, "mine.safetensors", metadata={"title": "Noise"})
        >>> again = jaxstyle.load_style("mine.safetensors")
        >>> jnp.array_equal(again["conv1"]["kernel"], net["conv1"]["kernel"])
        Array(True, dtype=bool)
    """
    _check_params(params, metadata, path=path)
    if trunk is not None:
        params, digest = _without_trunk(params, trunk)
        metadata = {**metadata, ITS_TRUNK: digest}
    param_files.save_params(params, path, metadata={**metadata, **FORMAT})


def load_style(name_or_path: str | Path) -> dict[str, Any]:
    """Load the parameters of a trained net for `jaxstyle.stylize`.

    Args:
        name_or_path: a style in the package, such as ``"starry-night"`` (``jaxstyle
            styles`` lists them); a file by `save_style`, ``jaxstyle train`` or
            ``jaxstyle import``; or ``hf:USER/REPO``, with an optional ``@REVISION``,
            published by ``jaxstyle push`` on the Hugging Face hub and cached.

    Returns:
        The parameters in float32, as `jaxstyle.nets.init_net` describes them.

    Examples:
        >>> net = jaxstyle.load_style("great-wave-8")
        >>> net["conv1"]["kernel"].shape
        (9, 9, 3, 8)
    """
    return load_style_file(find_style(name_or_path))[0]


def load_style_file(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a net's parameters and metadata.

    Args:
        path: the file, such as `jaxstyle.save_style` writes.

    Returns:
        The parameters in float32, and the metadata that were saved with them.

    Examples:
        >>> path = jaxstyle.files.find_style("the-scream")
        >>> params, metadata = jaxstyle.files.load_style_file(path)
        >>> metadata["painter"]
        '"Edvard Munch"'
    """
    params, metadata = param_files.load_params(path)
    if is_trunk(metadata):
        raise ValueError(
            f"{path} is a net of many styles; make a style of a painting with: "
            f"jaxstyle train --style PAINTING --init {path}"
        )
    if is_painting(metadata):
        raise ValueError(
            f"{path} is a painting, for jaxstyle.files.load_painting and "
            "jaxstyle.transport.stylize"
        )
    param_files.check_format(metadata, FORMAT, path=path, made_by=MAKERS)
    if ITS_TRUNK in metadata:
        params = _with_trunk(params, metadata.pop(ITS_TRUNK), path=Path(path))
    _check_params(params, metadata, path=path)
    return params, metadata


def load_style_header(path: str | Path) -> tuple[int | None, dict[str, str]]:
    """Read a net's width and the metadata of its file, without parameters or JAX.

    What is not a transform net has no width, ``None``: another network, a painting, or
    a net of many styles.
    """
    shapes, metadata = param_files.load_header(path)
    if is_painting(metadata) or is_trunk(metadata):
        return None, metadata
    param_files.check_format(metadata, FORMAT, path=path, made_by=MAKERS)
    if not _is_transform_net(metadata):
        return None, metadata
    channels = {name: shape[-1] for name, shape in shapes.items() if shape}
    return likely_width(channels), metadata


def _with_trunk(style: Mapping[str, Any], digest: str, *, path: Path) -> dict[str, Any]:
    """Join a style to the trunk that it needs, which ships or lies beside its file."""
    from jaxstyle.nets.conditional import join_style

    beside = path.with_name(f"{ITS_TRUNK}.safetensors")
    for place in (*shipped_trunks().values(), beside):
        if place.exists() and _trunk_digest(place) == digest:
            return join_style(_load_trunk_part(place), style)
    raise ValueError(
        f"{path} needs the trunk {digest}: put the {beside.name} that it was made with "
        "beside it"
    )


def _without_trunk(
    params: Mapping[str, Any], trunk: str | Path
) -> tuple[dict[str, Any], str]:
    """Split off what a net has besides a trunk; return the trunk's digest, too."""
    from jaxstyle.nets.conditional import split_style

    digest = _trunk_digest(Path(trunk))
    own, style = split_style(params)
    if digest != digest_trunk(own):
        raise ValueError(f"the net has another trunk than {trunk}")
    return style, str(digest)


def digest_trunk(trunk: Mapping[str, Any]) -> str:
    """Digest a trunk, in whatever order its parts come."""
    arrays = dict(sorted(param_files.leaves(trunk)))
    return param_files.digest_params(arrays)


def _trunk_digest(path: Path) -> str | None:
    """Read the digest of a trunk from the head of a file, if it is one."""
    _, metadata = param_files.load_header(path)
    return metadata.get(ITS_TRUNK) if is_trunk(metadata) else None


def _load_trunk_part(path: Path) -> dict[str, Any]:
    """Read the trunk of a net of many styles."""
    from jaxstyle.nets.conditional import split_style

    many, _ = param_files.load_params(path)
    return split_style(param_files.restore(many["net"]))[0]


def is_painting(metadata: Mapping[str, str]) -> bool:
    """Test whether the metadata of a file are those of a painting."""
    return PAINTING.items() <= metadata.items()


def is_trunk(metadata: Mapping[str, str]) -> bool:
    """Test whether the metadata of a file are those of a net of many styles."""
    return TRUNK.items() <= metadata.items()


def find_style(name_or_path: str | Path) -> Path:
    """Find the file of a net or a painting; ``great_wave`` is ``great-wave``.

    Args:
        name_or_path: as `jaxstyle.load_style` takes it, or of a painting in the
            package. A style on the hub is fetched.

    Returns:
        The path of a file that exists.

    Examples:
        >>> jaxstyle.files.find_style("great_wave").name
        'great-wave.safetensors'
    """
    if is_address(name_or_path):
        return pull_style(str(name_or_path))
    shipped = _find_shipped("styles") | shipped_paintings()
    name = str(name_or_path).replace("_", "-")
    path = (shipped | shipped_trunks()).get(name, Path(name_or_path))
    if not path.exists():
        near = get_close_matches(name.lower(), shipped)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(
            f"no style {name_or_path}: {hint}jaxstyle styles lists those that ship; or "
            f"give an image of a painting, a file made by {MAKERS}, or {FORM}"
        )
    return path


def is_shipped(name: str | Path) -> bool:
    """Test whether a style of a name ships; ``great_wave`` is ``great-wave``."""
    known = str(name).replace("_", "-")
    return known in _find_shipped("styles") | shipped_paintings()


def find_styles(names_or_paths: Sequence[str]) -> list[Path]:
    """Locate the files of styles, each once; see `ALL`."""
    found: dict[Path, Path] = {}
    for wanted in names_or_paths:
        if wanted == ALL:
            shipped = shipped_styles().items()
            paths = [path for name, path in shipped if not SMALLER.fullmatch(name)]
        else:
            paths = [find_style(wanted)]
        found |= {path.resolve(): path for path in paths if path.resolve() not in found}
    return list(found.values())


def shipped_styles() -> dict[str, Path]:
    """Find the files of the nets that ship in the package.

    Returns:
        Their paths by name, in alphabetical order.

    Raises:
        ValueError: there is none.

    Examples:
        >>> list(jaxstyle.files.shipped_styles())[:2]
        ['great-wave', 'great-wave-16']
    """
    if shipped := _find_shipped("styles"):
        return shipped
    raise ValueError(f"no style ships in this installation; make one with {MAKERS}")


def shipped_paintings() -> dict[str, Path]:
    """Find the files of the paintings that ship in the package.

    Returns:
        Their paths by name, in alphabetical order.

    Examples:
        >>> list(jaxstyle.files.shipped_paintings())[0]
        'arcimboldo-librarian'
    """
    return _find_shipped("paintings")


def shipped_trunks() -> dict[str, Path]:
    """Find the files of the nets of many styles that ship, such as ``trunk-32``."""
    found = _find_shipped("weights").items()
    return {name: path for name, path in found if name.startswith(f"{ITS_TRUNK}-")}


def _find_shipped(folder: str) -> dict[str, Path]:
    place = Path(str(resources.files("jaxstyle") / folder))
    files = {path.stem: path for path in place.glob("*.safetensors")}
    return dict(sorted(files.items()))


def likely_width(channels: Mapping[str, int]) -> int:
    """Infer a net's width by a vote of its residual blocks, four times as wide.

    ``channels`` are the output channels of its arrays, by path; some may be wrong.
    """
    votes = [
        number // 4 for path, number in channels.items() if path.startswith("residual")
    ]
    return max(1, mode(votes or [channels.get("conv1/kernel", 1)]))


def check_transform_net(metadata: Mapping[str, str], *, name: str | Path) -> None:
    """Raise a ValueError unless a style's metadata are those of a transform net."""
    if not _is_transform_net(metadata):
        raise ValueError(
            f"{name} holds a network of the kind {metadata['net']!r}, not a transform "
            f"net; choose a style made by {MAKERS}"
        )


def _is_transform_net(metadata: Mapping[str, str]) -> bool:
    return metadata.get("net", "transform") == "transform"


def _check_params(
    params: Mapping[str, Any], metadata: Mapping[str, str], *, path: str | Path
) -> None:
    """Raise a ValueError unless a transform net, or another net's name, is valid."""
    if _is_transform_net(metadata):
        check_net(params, path=path)
        return
    # Imported here, as below: it needs JAX.
    from jaxstyle.nets.networks import find_network

    find_network(metadata)


def check_net(params: Mapping[str, Any], *, path: str | Path) -> None:
    """Raise a ValueError unless parameters are those of a transform net."""
    # Imported here: it needs JAX, and to list styles must not take its second.
    from jaxstyle.nets.transform_net import FILTERS, NORMS, net_blocks, net_shapes

    arrays = dict(param_files.leaves(params))
    own = params.get("norm1", {})
    names = tuple(sorted(own)) if isinstance(own, Mapping) else None
    norm = next((norm for norm, known in NORMS.items() if known == names), "affine")
    blocks = net_blocks(params)
    channels = {path: array.shape[-1] for path, array in arrays.items() if array.shape}
    width = likely_width(channels)
    taps = len(FILTERS["bilinear"]) if "filter" in params else 1
    noise = channels.get("noise", 0)
    shapes = net_shapes(width=width, norm=norm, blocks=blocks, taps=taps, noise=noise)
    others = param_files.not_positive(arrays, ("input/std", "output/std"))
    others += [
        f"{name} holds negative values"
        for name, array in arrays.items()
        if name.endswith("/variance") and (array < 0).any()
    ]
    param_files.check_params(params, shapes, path=path, others=others)
