"""The examples in the docstrings of public names show what really comes out."""

from doctest import NORMALIZE_WHITESPACE, DocTest, DocTestParser, DocTestRunner
from pathlib import Path
from typing import Any

import pytest
from public_names import CLASSES, FUNCTIONS

import jaxstyle

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def run(test: DocTest, **options: Any) -> None:
    """Run examples; what is printed must be what they say."""
    report: list[str] = []
    runner = DocTestRunner(optionflags=NORMALIZE_WHITESPACE)
    result = runner.run(test, out=report.append, **options)
    assert result.failed == 0, "".join(report)
    assert result.attempted == len(test.examples)


def examples_of(name: str, item: Any, names: dict[str, Any]) -> DocTest:
    return DocTestParser().get_doctest(item.__doc__, dict(names), name, None, 0)


@pytest.fixture(scope="module")
def beginning(plain_convolutions: None) -> dict[str, Any]:
    """The names that the package's docstring begins with, and the others go on from."""
    test = examples_of("jaxstyle", jaxstyle, {})
    run(test, clear_globs=False)
    return test.globs


def test_the_examples_begin_with_these_names(beginning: dict[str, Any]) -> None:
    assert set(beginning) >= {"photo", "painting", "net", "vgg", "weights"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_example_that_runs(
    name: str,
    beginning: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    test = examples_of(name, FUNCTIONS[name], beginning)
    run(test)
    called = name.rpartition(".")[2]
    assert any(called in example.source for example in test.examples)


@pytest.mark.parametrize(
    "name", [name for name, item in CLASSES.items() if ">>>" in (item.__doc__ or "")]
)
def test_the_examples_of_classes_run(name: str, beginning: dict[str, Any]) -> None:
    run(examples_of(name, CLASSES[name], beginning))


def test_a_wrong_result_is_noticed() -> None:
    test = DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "sum", None, 0)
    with pytest.raises(AssertionError, match="Expected:"):
        run(test)
