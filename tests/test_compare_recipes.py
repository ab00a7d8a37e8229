"""``scripts/compare_recipes.py`` trains for equal times, and measures pictures."""

from pathlib import Path

import compare_recipes
import pytest
from compare_recipes import COMMON, RECIPES, main
from training_runs import save_data

from jaxstyle.cli.main import parse
from jaxstyle.files.style_files import load_style_file

TINY = "--size 16 --style-size 24 --width 1 --validation 3"


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_are_options_of_train(recipe: str) -> None:
    command = ["train", "--style", "style.png", "-o", "out", *COMMON, *RECIPES[recipe]]
    assert parse(command)[0] == "train"


def test_an_unknown_recipe_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["style.png", "--data", "photos", "-o", "out", "--recipes", "base,best"])
    assert stop.value.code == 2
    assert "no recipe best; known are base, " in capsys.readouterr().err


@pytest.mark.slow
def test_the_table_of_a_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_recipes, "PHOTOS", compare_recipes.PHOTOS[:1])
    command = ["style.png", "--data", "photos", "-o", "out", "--minutes", "0.01"]
    command += ["--size", "256", "--recipes", "noise", "--options", TINY]
    assert main(command) == 0
    table = capsys.readouterr().out
    heads, _, row = [line.split(" | ") for line in table.splitlines()]
    assert heads[:3] == ["| recipe", "steps", "left % relu1_1"]
    assert row[0] == "| noise"
    assert int(row[1]) > 0
    net, _ = load_style_file("out/noise/style.safetensors")
    assert net["noise"].shape[-1] == 2
    assert Path("out/noise/astronaut.png").exists()
    assert main(command) == 0  # nothing is trained again
    assert capsys.readouterr().out == table
