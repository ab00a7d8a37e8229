"""The parameters that ship in the package, and those that it can fetch."""

import os
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jaxstyle.files.downloads import Checksum, download
from jaxstyle.files.image_files import load_image
from jaxstyle.files.published_vgg import from_keras, measure_mean_activations
from jaxstyle.files.vgg_files import OXFORD, load_vgg_file, save_vgg, to_half
from jaxstyle.vgg import layers

SHIPPED = ("vgg16",)
"""The networks whose weights are in the package."""

PHOTOS = ("astronaut.jpg", "chelsea.jpg", "coffee.jpg")
"""The example images that are photographs."""

PHOTO_SIDE = 512
"""The longer side, in pixels, of photographs on which activations are measured."""


class Download(NamedTuple):
    """A published file and its checksum."""

    url: str
    md5: str


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

DOWNLOADS = {
    "vgg16": Download(
        f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "vgg19": Download(
        f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "253f8cb515780f3b799900260a226db6",
    ),
}
"""Oxford's weights as Keras publishes them."""


def load_vgg(name_or_path: str | Path = "vgg16") -> dict[str, Any]:
    """Load a VGG's parameters, as `jaxstyle.vgg.features` takes them.

    Source: Simonyan & Zisserman (2015). The weights are theirs, with kernels
    rounded to float16.

    Args:
        name_or_path: ``"vgg16"``, which ships in the package down to ``relu5_1``;
            ``"vgg19"``, once ``jaxstyle weights vgg19`` has downloaded it; or a file
            made by ``scripts/convert_vgg.py``.

    Returns:
        The parameters in float32. Pixels are RGB in [0, 1] to them, for they hold the
        mean and the standard deviation that the network expects.

    Raises:
        ValueError: there is no such network or file, it is not downloaded yet, or the
            file is damaged or holds something else; all problems are named at once.

    Examples:
        >>> vgg = jaxstyle.load_vgg()
        >>> vgg["conv4_2"]["kernel"].shape
        (3, 3, 512, 512)
    """
    if name_or_path in SHIPPED:
        return load_vgg_file(_package_file("weights", f"{name_or_path}.safetensors"))
    if name_or_path in layers.NETWORKS:
        return load_vgg_file(_cached_vgg(str(name_or_path)))
    if not Path(name_or_path).exists():
        raise ValueError(
            f"no VGG weights {name_or_path}: expected {', '.join(layers.NETWORKS)} "
            "or a .safetensors file made by scripts/convert_vgg.py"
        )
    return load_vgg_file(name_or_path)


def example_photos() -> list[Path]:
    """Return the photographs among the package's example images."""
    return [_package_file("examples", name) for name in PHOTOS]


def cache_folder() -> Path:
    """Return where downloads are kept.

    It is ``JAXSTYLE_CACHE``, else ``jaxstyle`` in ``XDG_CACHE_HOME``, else
    ``~/.cache/jaxstyle``. It need not exist yet.
    """
    if own := os.environ.get("JAXSTYLE_CACHE"):
        return Path(own)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "jaxstyle"


def download_vgg(name: str, *, url: str | None = None) -> Path:
    """Fetch a VGG that Keras publishes, convert it, and keep it in the cache.

    Args:
        name: a key of ``DOWNLOADS``.
        url: where to fetch the same file from instead.

    Returns:
        The file in the cache. One that was there before is replaced on success only.

    Raises:
        ValueError: there is no such network, the download fails or breaks off, its
            checksum is wrong, or the cache cannot be written to.
    """
    if name not in DOWNLOADS:
        raise ValueError(f"no download {name!r}; known are {', '.join(DOWNLOADS)}")
    published = DOWNLOADS[name]
    url = url or published.url
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") as folder:
        file = Path(folder) / f"{name}.h5"
        download(url, file, checksum=Checksum("md5", published.md5))
        network, params = from_keras(file)
    photos = [load_image(path, longest_side=PHOTO_SIDE) for path in example_photos()]
    params = measure_mean_activations(params, photos)
    path = _make_cache_folder() / f"{name}.safetensors"
    save_vgg(
        to_half(params),
        path,
        network=network,
        origin=OXFORD,
        source=published.url,
        photos=len(photos),
    )
    return path


def _package_file(folder: str, name: str) -> Path:
    return Path(str(resources.files("jaxstyle") / folder / name))


def _cached_vgg(name: str) -> Path:
    path = cache_folder() / f"{name}.safetensors"
    if not path.exists():
        raise ValueError(
            f"the weights of {name} are not at {path}; "
            f"download them with: jaxstyle weights {name}"
        )
    return path


def _make_cache_folder() -> Path:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot create the cache folder {folder}: {error}") from error
    return folder
