"""Threads make things before they are asked for, each once."""

import threading

import pytest

from jaxstyle.cli.optimize import programs
from jaxstyle.cli.optimize.programs import Ahead


def test_each_is_made_once() -> None:
    made = []

    def square(number: int) -> int:
        made.append(number)
        return number**2

    squares = Ahead(square)
    squares.begin([3, 4])
    assert [squares[4], squares[5], squares[3], squares[5]] == [16, 25, 9, 25]
    assert sorted(made) == [3, 4, 5]


def test_it_is_made_before_it_is_asked_for() -> None:
    begun = threading.Event()
    events: Ahead[str, None] = Ahead(lambda _: begun.set())
    assert not begun.is_set()
    events.begin(["key"])
    assert begun.wait(timeout=60)


def test_what_goes_wrong_is_told_when_it_is_asked_for() -> None:
    def fail(key: str) -> None:
        raise ValueError(f"no {key}")

    failing = Ahead(fail)
    failing.begin(["key"])
    with pytest.raises(ValueError, match="no key"):
        failing["key"]


def test_what_has_not_begun_can_be_dropped_and_asked_for_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(programs, "THREADS", 1)
    running, go_on, made = threading.Event(), threading.Event(), []

    def make(key: str) -> str:
        made.append(key)
        running.set()
        assert go_on.wait(timeout=60)
        return key.upper()

    waiting = Ahead(make)
    waiting.begin(["first", "second"])
    assert running.wait(timeout=60)
    waiting.drop()
    go_on.set()
    assert waiting["first"] == "FIRST"
    assert made == ["first"]
    assert waiting["second"] == "SECOND"
