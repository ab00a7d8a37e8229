"""The site: every public name documented in full, and no link that leads nowhere."""

import re
import shutil
import sys
from collections.abc import Iterator
from html import unescape
from inspect import signature
from pathlib import Path

import flax.linen as nn
import make_docs
import pytest
from public_names import CLASSES, FUNCTIONS, MEMBERS, PROTOCOLS, PUBLIC

import jaxstyle

Captured = pytest.CaptureFixture[str]

# What Sphinx and its extensions are to change among themselves. Sphinx's own warnings
# are none of Python's, and fail the command.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

NAME = r'<dt class="sig [^"]*" id="(jaxstyle[\w.]*)"'
"""Where the description of a name begins."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, which is made without a warning."""
    output = tmp_path_factory.mktemp("docs") / "site"
    assert make_docs.main(["-o", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    """Return the pages by file name, those of source code left out."""
    return {path.name: path.read_text() for path in site.glob("*.html")}


@pytest.fixture(scope="module")
def descriptions(pages: dict[str, str]) -> dict[str, str]:
    """Return what is on the pages below each name."""
    found: dict[str, str] = {}
    for page in pages.values():
        _, *parts = re.split(NAME, page)
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            assert name not in found, f"{name} is described twice"
            found[name] = text
    return found


def listed(description: str, title: str) -> list[str]:
    """Return the names in a list below a title, such as Parameters."""
    section = re.search(
        rf'<dt class="field-\w+">{title}<span.*?<dd.*?</dd>', description, re.DOTALL
    )
    return re.findall(r"<strong>(\w+)</strong>", section[0]) if section else []


# --- what is there ------------------------------------------------------------------


def test_the_public_names_are_all_there_and_no_others(
    descriptions: dict[str, str],
) -> None:
    assert set(descriptions) == {*PUBLIC, *MEMBERS}


def test_the_first_page_leads_to_all_names(pages: dict[str, str]) -> None:
    links = set(re.findall(r'href="[\w.-]+#(jaxstyle[\w.]*)"', pages["index.html"]))
    assert set(PUBLIC) <= links


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_results_are_told(
    name: str, descriptions: dict[str, str]
) -> None:
    expected = signature(FUNCTIONS[name])
    assert listed(descriptions[name], "Parameters") == list(expected.parameters)
    returns = expected.return_annotation is not None
    assert (">Returns<" in descriptions[name]) == returns
    assert ">Return type<" not in descriptions[name], "a colon in the first line"


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - PROTOCOLS.keys()))
def test_attributes_are_told(name: str, descriptions: dict[str, str]) -> None:
    fields = list(signature(CLASSES[name]).parameters)
    if issubclass(CLASSES[name], nn.Module):  # which ends with two fields of Flax
        assert fields[-2:] == ["parent", "name"]
        del fields[-2:]
    assert listed(descriptions[name], "Attributes") == fields


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_sections_are_not_left_as_text(name: str, descriptions: dict[str, str]) -> None:
    assert not re.search(
        r"(Args|Attributes|Returns|Raises|Examples):<", descriptions[name]
    )
    if ">>>" in PUBLIC[name].__doc__:
        assert '<span class="gp">&gt;&gt;&gt; </span>' in descriptions[name]


def test_tables_name_their_entries(descriptions: dict[str, str]) -> None:
    for name in jaxstyle.optimize.PRESETS:
        assert f"&quot;{name}&quot;" in descriptions["jaxstyle.optimize.PRESETS"]
    for name, loss in jaxstyle.losses.STYLE_LOSSES.items():
        table = descriptions["jaxstyle.losses.STYLE_LOSSES"]
        assert f"&quot;{name}&quot;" in table
        assert f"#jaxstyle.losses.{loss.compare.__name__}" in table


def test_formulas_shapes_and_types_are_as_in_the_source(
    descriptions: dict[str, str],
) -> None:
    found = descriptions["jaxstyle.losses.gram_matrix"]
    assert re.search(r"<pre>.*G_cd = 1 / \(h w c\)  sum over all", found)
    text = unescape(re.sub(r"<[^>]*>", "", found))
    assert re.search(r"features: Float\[Array, '\*n h w c'\]", text)
    assert re.search(r"Float\[Array, '\*n c c'\]", text)


# --- where it leads -----------------------------------------------------------------


def test_no_link_leads_nowhere(site: Path, pages: dict[str, str]) -> None:
    ids = {name: set(re.findall(r'id="([^"]+)"', page)) for name, page in pages.items()}
    count = 0
    for name, page in pages.items():
        for link in re.findall(r'<a [^>]*href="([^"]+)"', page):
            if link.startswith("https://"):
                continue
            path, _, fragment = unescape(link).partition("#")
            assert (site / (path or name)).is_file(), f"{link} in {name}"
            if fragment and path in pages:
                assert fragment in ids[path], f"{link} in {name}"
                count += 1
    assert count > len(PUBLIC)


def loaded_by(site: Path) -> Iterator[str]:
    """Yield the addresses that the pages make a browser load."""
    for path in site.rglob("*.html"):
        page = path.read_text()
        yield from re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"', page)
        yield from re.findall(r'<link[^>]* href="([^"]+)"', page)
    for path in site.rglob("*.css"):
        yield from re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", path.read_text())


def test_pages_ask_no_other_server(site: Path) -> None:
    addresses = set(loaded_by(site))
    assert any(".css" in address for address in addresses)
    assert any("searchtools.js" in address for address in addresses)
    assert not {a for a in addresses if re.match(r"(\w+:)?//", a)}


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("docstring", "complaint"),
    [
        ("See `jax.jit`, `stylize` and `jaxstyle.stylize`.", ""),
        ("See `stilize`.", "stilize"),
        ("See `jaxstyle.stilize`.", "jaxstyle.stilize"),
        ("See `jax.jitt`.", "jax.jitt"),
        ("See `an end that is missing.", "without end-string"),
    ],
)
def test_a_docstring_with_a_mistake_makes_no_site(
    docstring: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Captured,
) -> None:
    page = ".. currentmodule:: jaxstyle\n\n.. autofunction:: stylize\n"
    sources = tmp_path / "docs"
    sources.mkdir()
    shutil.copy(make_docs.DOCS / "conf.py", sources)
    monkeypatch.setattr(make_docs, "DOCS", sources)
    monkeypatch.setattr(make_docs, "write_sources", lambda: [("index", page)])
    monkeypatch.setattr(jaxstyle.stylize, "__doc__", docstring)
    output = tmp_path / "out" / "site"
    output.parent.mkdir()
    code = make_docs.main(["-o", str(output)])
    errors = capfd.readouterr().err
    assert code == (2 if complaint else 0), errors
    assert complaint in errors
    assert list(output.parent.iterdir()) == ([] if complaint else [output])


def test_a_folder_that_is_not_empty_is_refused(
    tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "notes.txt").touch()
    assert make_docs.main(["-o", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"make_docs: error: {tmp_path} is not empty")


def test_without_sphinx_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "sphinx.cmd.build", None)
    assert make_docs.main(["-o", str(tmp_path / "site")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "make_docs: error: Sphinx is not installed: pip install '.[docs]'"
