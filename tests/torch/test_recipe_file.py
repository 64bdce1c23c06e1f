"""Recipe files: the shipped ones, people's own, and a line for each thing that may be wrong."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from nas.errors import OptionError
from nas.training import Recipe
from nas.training.recipe_file import KEYS, load_recipe, recipe_names

from .training_cases import recipe

OPTIONS = {"epochs", "batch_size", "augment", "dtype", "device", "seed", "compile"}


def test_every_field_of_a_recipe_is_a_key_or_an_option() -> None:
    assert {*KEYS} | OPTIONS == {each.name for each in fields(Recipe)}
    assert not {*KEYS} & OPTIONS
    defaults = recipe().to_dict()
    assert [name for name, rule in KEYS.items() if rule.fault(defaults[name]) is not None] == []


def test_the_shipped_recipes_are_read_and_say_what_they_are_for() -> None:
    assert recipe_names() == ["default", "finetune", "long"]
    for name in recipe_names():
        found = load_recipe(name)
        assert found.name == name
        assert found.about
        for epochs in (1, 30, 1000):
            found.applied(recipe(epochs=epochs), images=100_000)


@pytest.mark.parametrize(
    ("epochs", "images", "same"), [(1, 10**6, True), (60, 50_000, True), (300, 500, True), (300, 5000, False)]
)
def test_the_default_changes_nothing_in_short_trainings_or_on_little_data(epochs: int, images: int, same: bool) -> None:
    found = load_recipe("default").applied(recipe(epochs=epochs), images=images)
    assert (found == recipe(epochs=epochs)) is same


def test_a_short_training_on_little_data_is_not_mixed() -> None:
    for name in ("default", "finetune"):
        assert "mixup" not in load_recipe(name).chosen(epochs=5, images=3000)
    assert load_recipe("finetune").chosen(epochs=60, images=3000)["mixup"] > 0


def test_a_file_of_one_s_own_gives_its_keys_and_later_parts_prevail(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "format: 1\nabout: mine\nrecipe: {learning_rate: 1e-3, patience: 3}\n"
        "sized:\n- {epochs: 10, recipe: {mixup: 0.1}}\n- {epochs: 20, images: 100, recipe: {mixup: 0.2, patience: 5}}\n"
    )
    found = load_recipe(path)
    assert found.chosen(epochs=9, images=1000) == {"learning_rate": 1e-3, "patience": 3}
    assert found.chosen(epochs=20, images=99) == {"learning_rate": 1e-3, "patience": 3, "mixup": 0.1}
    assert found.applied(recipe(epochs=20), images=100) == recipe(epochs=20, learning_rate=1e-3, patience=5, mixup=0.2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("recipe: {mixp: 0.1}", "recipe: Unknown key 'mixp': did you mean 'mixup'? Known: accumulation,"),
        ("recipe: {epochs: 3}", "recipe: Unknown key 'epochs'"),
        ("recpe: {}", "Unknown key 'recpe': did you mean 'recipe'? Known: about, format, recipe, sized."),
        ("recipe: {mixup: -1}", "recipe: mixup is '-1': give a number at least 0 and at most 10."),
        ("recipe: {mixup: yes}", "recipe: mixup is 'yes': give a number at least 0 and at most 10."),
        ("recipe: {mixup: true}", "recipe: mixup is 'True': give a number at least 0 and at most 10."),
        ("recipe: {ema: 1}", "recipe: ema is '1': give a number at least 0 and below 1."),
        ("recipe: {learning_rate: 0}", "recipe: learning_rate is '0': give a number above 0 and at most 1."),
        ("recipe: {patience: 1.5}", "recipe: patience is '1.5': give a whole number at least 0 and at most 1,000,000."),
        ("recipe: {checkpoint: first}", "recipe: checkpoint is 'first': give last or best."),
        ("recipe: {class_weights: [1]}", "recipe: class_weights is '[1]': give none or balanced."),
        ("recipe: 3", "recipe must be a mapping of keys such as learning_rate: 1e-3."),
        ("sized: {}", "sized must be a list of parts, each with epochs and recipe."),
        ("sized: [3]", "sized part 1 must be a mapping of epochs, images and recipe."),
        (
            "sized: [{}, {epochs: -1}]",
            "sized part 2: epochs is '-1': give a whole number at least 0 and at most 1,000,000,000.",
        ),
        ("sized: [{epoch: 1}]", "sized part 1: Unknown key 'epoch': did you mean 'epochs'?"),
        ("sized: [{recipe: {ema: 2}}]", "sized part 1: ema is '2': give a number at least 0 and below 1."),
    ],
)
def test_a_fault_is_told_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"format: 1\n{text}\n")
    with pytest.raises(OptionError) as caught:
        load_recipe(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: {reason}")
    assert "\n" not in said


def test_another_format_or_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: {}\n")
    with pytest.raises(OptionError, match="format is .None., and this version reads 1: write format: 1"):
        load_recipe(path)
    with pytest.raises(OptionError, match="Unknown recipe 'finetun': did you mean 'finetune'.* A path to a YAML file"):
        load_recipe("finetun")
    with pytest.raises(
        OptionError,
        match=r"No recipe file 'no/such.yaml'. Give a path to a YAML file or one of default, finetune, long",
    ):
        load_recipe("no/such.yaml")
    with pytest.raises(OptionError, match="is a folder; a YAML file is needed"):
        load_recipe(tmp_path)
