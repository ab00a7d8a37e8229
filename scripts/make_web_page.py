"""Make a web page that stylizes photos in the browser, with nets as ONNX files.

    python scripts/make_web_page.py great-wave-16 starry-night -o web
    python -m http.server -d web

Writes a folder that any web server can serve as it is: the page, of ``scripts/web``,
the nets, and ONNX Runtime Web, which runs them. The page asks no other server for
anything, and photos do not leave the browser. The package onnx is needed, and npm,
which fetches ONNX Runtime Web into the cache once, or a folder that has its files.
"""

import argparse
import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from string import Template

from jaxstyle.convert import to_onnx
from jaxstyle.files import cache_folder, find_style, load_style_file, shipped_styles

SOURCES = Path(__file__).parent / "web"

PAGE = "index.html"
"""The source that is a template, for the list of styles."""

RUNTIME = "onnxruntime-web@1.30.0"
"""The npm package, at the version that the page was tested with."""

INTEGRITY = (
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1S"
    "igqR4CXAfKYQ=="
)
"""What npm says of it: a checksum that its archive must have."""

RUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "ort.js",  # there are servers that do not know .mjs
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
"""The files of ONNX Runtime Web that the page needs, and what it calls them."""

SMALLER = re.compile(r"-\d+$")
"""How the names of smaller nets end: in their width."""

Files = Mapping[str, bytes]
"""What is in files, by their paths in the page's folder."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = make_parser().parse_args(argv)
    styles, output = arguments.styles, arguments.output
    make = partial(make_page, styles, output, runtime=arguments.onnxruntime)
    return run_script("make_web_page", make)


def run_script(name: str, make: Callable[[], None]) -> int:
    """Do what a script is for, or say in a line what is wrong; return the exit code."""
    try:
        make()
    except (ImportError, OSError, ValueError) as error:
        line = " ".join(str(error).split())
        print(f"{name}: error: {line}", file=sys.stderr)
        return 2
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "styles",
        nargs="+",
        metavar="NAME|FILE|all",
        help="a style that ships, what jaxstyle train or import has made, or all",
    )
    add(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the folder to make; one that exists must be empty",
    )
    add(
        "--onnxruntime",
        type=Path,
        metavar="FOLDER",
        help="the folder dist of the npm package onnxruntime-web "
        f"(default: that of {RUNTIME}, which npm fetches)",
    )
    return parser


def make_page(styles: Sequence[str], output: Path, *, runtime: Path | None) -> None:
    """Make everything, write it, and say what to do with it."""
    check_output(output)
    paths = name_styles(styles)
    nets = {
        f"nets/{name}.onnx": to_onnx(load_style_file(paths[name])[0]) for name in paths
    }
    files = {
        **dict(read_runtime(runtime) if runtime else fetch_runtime()),
        **nets,
        **read_sources("\n".join(make_option(name, paths[name]) for name in paths)),
    }
    write_files(output, files)
    print(f"{output}: {sum(map(len, files.values())) / 1e6:.1f} MB")
    print(f"to try it: {Path(sys.executable).name} -m http.server -d {output}")


# --- the folder ---------------------------------------------------------------------


def check_output(folder: Path) -> None:
    """Raise, before any long work, unless there is room for a new folder."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; choose another folder, or empty it")
    if not folder.parent.is_dir():
        raise ValueError(f"cannot make {folder}: there is no folder {folder.parent}")


def write_files(folder: Path, files: Files) -> None:
    """Put files into an empty folder: all of them, or none if writing fails."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        for name, content in files.items():
            path = Path(scratch, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        for path in Path(scratch).iterdir():
            path.rename(folder / path.name)


def read_sources(options: str) -> dict[str, bytes]:
    """Return the page's own files, with its list of styles filled in."""
    files = {path.name: path.read_bytes() for path in SOURCES.iterdir()}
    page = Template(files[PAGE].decode()).substitute(options=options)
    return {**files, PAGE: page.encode()}


# --- styles -------------------------------------------------------------------------


def name_styles(styles: Sequence[str]) -> dict[str, Path]:
    """Return the files of styles, by the names that their nets get."""
    paths = list({path.resolve(): path for path in find_styles(styles)}.values())
    name, times = Counter(path.stem for path in paths).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{times} styles are called {name}; give them other names")
    return {path.stem: path for path in paths}


def find_styles(styles: Sequence[str]) -> Iterator[Path]:
    """Yield the files of styles, of all shipped ones of full width for ``all``."""
    for style in styles:
        if style == "all":
            shipped = shipped_styles()
            yield from (shipped[name] for name in shipped if not SMALLER.search(name))
        else:
            yield find_style(style)


def make_option(name: str, path: Path) -> str:
    """Return a line of the list of styles, with what is known of one."""
    params, facts = load_style_file(path)
    known = [decode(facts[key]) for key in ("title", "painter", "year") if key in facts]
    width = params["conv1"]["kernel"].shape[-1]
    about = html.escape(", ".join([*known, f"width {width}"]))
    name = html.escape(name)
    return f'<option value="{name}" data-about="{about}">{name}</option>'


def decode(text: str) -> str:
    """Decode JSON, as train writes it, or keep the text, as import writes it."""
    try:
        return str(json.loads(text))
    except ValueError:
        return text


# --- ONNX Runtime Web ---------------------------------------------------------------


def read_runtime(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of ONNX Runtime Web that are in a folder."""
    for name, ours in RUNTIME_FILES.items():
        if not (folder / name).is_file():
            raise ValueError(
                f"no {name} in {folder}; expected the folder dist of {RUNTIME}"
            )
        yield f"onnxruntime/{ours}", (folder / name).read_bytes()


def fetch_runtime() -> Iterator[tuple[str, bytes]]:
    """Yield the files of ONNX Runtime Web that are in the npm package.

    Its archive is kept in the cache. Nothing is unpacked but what the page needs.
    """
    archive = cache_folder() / f"{RUNTIME}.tgz"
    if not archive.exists():
        pack_runtime(archive)
    check_integrity(archive)
    with tarfile.open(archive) as package:
        for name, ours in RUNTIME_FILES.items():
            member = package.extractfile(f"package/dist/{name}")
            assert member is not None  # the archive is the one that was pinned
            yield f"onnxruntime/{ours}", member.read()


def pack_runtime(archive: Path) -> None:
    """Let npm fetch the package's archive, from the registry that it is set up for."""
    if (npm := shutil.which("npm")) is None:
        raise ValueError(
            f"there is no npm to fetch {RUNTIME}; install Node.js, or give the "
            "package's folder dist as --onnxruntime"
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        command = (npm, "pack", RUNTIME, "--pack-destination", scratch)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"npm cannot fetch {RUNTIME}: {done.stderr}")
        (packed,) = Path(scratch).iterdir()
        check_integrity(packed)
        packed.replace(archive)


def check_integrity(archive: Path) -> None:
    """Raise unless an archive is the one whose checksum is pinned."""
    digest = hashlib.sha512(archive.read_bytes()).digest()
    found = f"sha512-{base64.b64encode(digest).decode()}"
    if found != INTEGRITY:
        raise ValueError(
            f"{archive} is not {RUNTIME}: its integrity is {found}, expected "
            f"{INTEGRITY}; delete it and try again"
        )


if __name__ == "__main__":
    sys.exit(main())
