"""``jaxstyle video`` that is killed or interrupted, and what it goes on from."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import contents, run
from video_samples import PLAIN, make_folder, read, refusal, times

from jaxstyle.cli.video import film_outputs
from jaxstyle.files.json_files import save_object

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder with a style and a clip of three shots."""
    make_folder(tmp_path, monkeypatch)


@pytest.mark.parametrize("blend", ["0", "0.6"])
def test_a_run_that_was_killed_goes_on_to_the_same_film(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, blend: str
) -> None:
    monkeypatch.setattr(film_outputs, "FRAMES_EACH", 5)
    monkeypatch.setattr("jaxstyle.cli.video.video_command.FRAMES_EACH", 5)
    command = ["video", "clip.mkv", *PLAIN, "--blend", blend]
    assert run([*command, "-o", "a/out.mp4"]) == 2  # there is no folder
    for name in "abc":
        Path(name).mkdir()
    assert run([*command, "-o", "a/out.mp4"]) == 0
    keep = film_outputs.finish
    monkeypatch.setattr(film_outputs, "finish", _killed)
    with pytest.raises(KeyError):
        run([*command, "-o", "b/out.mp4"])
    monkeypatch.setattr(film_outputs, "finish", keep)
    unfinished = Path("b/out.mp4.unfinished")
    segments = sorted(unfinished.glob("*.nut"))
    assert len(segments) == 6
    shutil.copytree(unfinished, "c/out.mp4.unfinished")
    # One was killed when all was painted, the other in its third segment.
    for late in sorted(Path("c/out.mp4.unfinished").glob("*.nut"))[2:]:
        late.unlink()
    shutil.copy(unfinished / "000005.npy", "c/out.mp4.unfinished/000005.npy")
    _rebuild_picture(Path("c/out.mp4.unfinished/000001.npy"), command, monkeypatch)
    for name in "bc":
        assert run([*command, "-o", f"{name}/out.mp4"]) == 0
        assert contents(Path(name)).keys() == {"out.mp4"}
        assert contents(Path(name)) == contents(Path("a"))


def _killed(*_: Any, **__: Any) -> None:
    raise KeyError


def _rebuild_picture(
    path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make the picture that a run leaves that is killed after two segments."""
    Path("d").mkdir()
    save = film_outputs.save_picture

    def stop(output: Any, index: int, picture: Any) -> None:
        save(output, index, picture)
        if index == 1:
            shutil.copy(output.unfinished / path.name, path)

    monkeypatch.setattr(film_outputs, "save_picture", stop)
    assert run([*command, "-o", "d/out.mp4"]) == 0
    monkeypatch.setattr(film_outputs, "save_picture", save)


def test_parts_of_another_run_are_not_mixed_in(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(film_outputs, "finish", _killed)
        with pytest.raises(KeyError):
            run(["video", "clip.mkv", "-o", "out.mp4", *PLAIN])
    arguments = ("clip.mkv", "-o", "out.mp4", *PLAIN, "--strength", "0.5")
    assert "made with other settings; delete it" in refusal(capsys, *arguments)


def test_an_interrupt_ends_at_the_last_whole_segment(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("jaxstyle.cli.video.video_command.FRAMES_EACH", 5)
    from jaxstyle.cli.video import film_painting

    finish, seen = film_painting.FilmPainter.finish, []

    def interrupt(self: Any, *images: Any) -> Any:
        seen.append(images)
        if len(seen) == 13:
            import signal

            signal.raise_signal(signal.SIGINT)
        return finish(self, *images)

    monkeypatch.setattr(film_painting.FilmPainter, "finish", interrupt)
    command = ["video", "clip.mkv", "-o", "out.mp4", *PLAIN]
    assert run(command) == 130
    line = "interrupted; the same command goes on after 10 frames\n"
    assert capsys.readouterr() == ("", line)
    assert len(list(Path("out.mp4.unfinished").glob("*.nut"))) == 2
    assert run(command) == 0
    assert len(seen) == 13 + 17
    assert times(read("out.mp4")[1]) == list(range(0, 28 * 40, 40))


def test_settings_may_change_until_something_is_made() -> None:
    Path("out.mp4.unfinished").mkdir()
    save_object({"run": "of other settings"}, Path("out.mp4.unfinished/run.json"))
    assert run(["video", "clip.mkv", "-o", "out.mp4", *PLAIN]) == 0
    assert not Path("out.mp4.unfinished").exists()
