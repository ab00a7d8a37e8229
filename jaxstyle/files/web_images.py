"""Images on the web, named by their http or https address, and downloaded once."""

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jaxstyle.files.atomic import explained
from jaxstyle.files.image_decoding import SUFFIXES, open_image

SCHEMES = ("http://", "https://")
"""How addresses begin."""

LARGEST = 2**28
"""The most bytes of an image on the web."""

FOLDER = "images"
"""The folder of downloaded images in the cache folder, one folder for each address."""

_LONGEST = 100


def is_address(path: str | Path) -> bool:
    """Tell addresses on the web from paths of files."""
    return str(path).lower().startswith(SCHEMES)


def local_image(path: str | Path) -> Path:
    """Find the file of an image: that of its path, or of its address.

    What an address names is downloaded to the cache folder, and read from there from
    then on. A ValueError says if that fails, or if it is no image.
    """
    if not is_address(path):
        return Path(path)
    # Imported here: few need it.
    from jaxstyle.files.downloads import cache_folder, download

    address = str(path)
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    folder = cache_folder() / FOLDER / digest
    if found := sorted(each for each in folder.glob("*") if each.suffix in SUFFIXES):
        return found[0]
    with explained(f"cannot make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    download(address, arrived := folder / "download", largest=LARGEST, quiet=True)
    return _name_image(arrived, address)


def _name_image(arrived: Path, address: str) -> Path:
    """Give a download the name in its address, with a suffix of its format."""
    from PIL import Image

    try:
        with explained(f"cannot read the image {address}"), arrived.open("rb") as file:
            kind = open_image(file).format
    except ValueError:
        arrived.unlink()
        raise
    name = re.sub(r"[^\w.-]+", "_", Path(unquote(urlsplit(address).path)).name)
    name, suffix = Path(name or "image").stem[:_LONGEST], Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        known = Image.registered_extensions()
        suffix = next(each for each in SUFFIXES if known.get(each) == kind)
    return arrived.replace(arrived.with_name(name + suffix))
