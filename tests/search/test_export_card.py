"""`card.md` says what a network is, in words and numbers that are right, and no more than is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

import nas
from nas.budget import format_quantity
from nas.export import FILES, CardFacts
from nas.export.card import card_text
from nas.export.exported_model import ExportedModel

from .export_cases import CLASSES, FACTS, RESOLUTION, coatnet, product

CHECKS = {
    "config_error": 0.0,
    "code_error": 0.0,
    "onnx_error": 2.5e-7,
    "onnx_skipped": None,
    "counts": [{"resolution": 32, "macs": 1000, "macs_fvcore": 1100, "macs_difference": 100}],
}


def card(of: ExportedModel, **changes: object) -> str:
    return card_text(of, {**CHECKS, **changes}, files=dict.fromkeys(FILES.values(), 2_500_000))


def test_costs_are_given_at_both_resolutions_with_units() -> None:
    architecture = coatnet()
    text = card(product(architecture))
    whole, small = nas.cost(architecture), nas.cost(architecture.at_resolution(18))
    assert f"MACs ({whole.macs:,}) at 32x32, the size that the budget counts" in text
    assert f"MACs ({small.macs:,}) at the 18x18 it was trained on" in text
    assert f"params ({whole.params:,}) at 32x32" in text
    assert f"params ({small.params:,}) at the 18x18" in text


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("CCAA", "a hybrid of convolution (C) and attention (A) stages: **C-C-A-A**"),
        ("CCCC", "10 classes, convolution (C) stages: **C-C-C-C**"),
    ],
)
def test_only_networks_of_both_kinds_are_called_hybrids(layout: str, words: str) -> None:
    text = card(product(coatnet(layout)))
    assert words in text
    assert ("hybrid of" in text) == (layout == "CCAA")


def test_one_resolution_is_named_once() -> None:
    text = card(replace(product(coatnet()), trained_resolution=RESOLUTION))
    assert "it was trained on" not in text
    assert "the weights are for" not in text


def test_accuracy_layout_training_and_origin_are_stated() -> None:
    text = card(product(coatnet()))
    for words in (
        "# Winner 1 of coatnet-small on digits\n",
        "**C-C-A-A**",
        "93.12% on the test split (360 images)",
        "3 epochs on digits (1,797 images, 10 classes), at 18x18, seed 7, in 35 s",
        "in the space `coatnet-small` under a budget of 42 MMACs",
        "`nas-search --space coatnet-small --budget 42MFLOPs`",
        "mean = [0.5, 0.4, 0.3]",
        "std = [0.2, 0.25, 0.3]",
        "    nas train architecture.yaml --data 'my images/cifar' --seed 7 --train-resolution 32\n",
        "'my images/cifar' --seed 7 --train-resolution 32 --weights weights.safetensors --recipe finetune\n",
        "Apache-2.0",
        "does not know the licence of the images",
    ):
        assert words in text


def test_the_table_has_a_row_for_every_part() -> None:
    architecture = coatnet()
    rows = [
        line for line in card(product(architecture)).splitlines() if line.startswith(("| stem", "| stage", "| head"))
    ]
    assert len(rows) == 2 + len(architecture.stages)
    assert [row.split(" | ")[1] for row in rows] == ["", "C", "C", "A", "A", ""]


def test_class_names_cannot_break_the_page() -> None:
    text = card(product(coatnet()))
    assert "0 `airplane`, 1 `a|b'c`, 2 `bird`" in text
    assert "9 `truck`" in text


def test_many_classes_are_cut_short() -> None:
    names = tuple(f"class {i}" for i in range(150))
    many = replace(product(coatnet()), architecture=coatnet().with_classes(150), class_names=names)
    text = card(many)
    assert "99 `class 99` and 50 more" in text


def test_checks_are_reported_as_they_came_out() -> None:
    text = card(product(coatnet()))
    assert "describes gives the same output bit for bit" in text
    assert "for batches of 1 and 3, gives the same output to a relative error of 2.5e-07" in text
    assert "fvcore counts 1,100 multiply-adds at 32x32: 10.00% more than hybrid-nas" in text
    skipped = card(product(coatnet()), onnx_error=None, onnx_skipped="It was not asked for.")
    assert "`model.onnx` was not written. It was not asked for." in skipped


def test_only_files_that_are_there_are_explained() -> None:
    text = card_text(product(coatnet()), CHECKS, files={"architecture.yaml": 800})
    assert "```" not in text
    assert "nas train architecture.yaml" in text


def test_how_images_are_prepared_is_stated() -> None:
    text = card(product(coatnet()))
    for words in (
        "`preprocessing.json` says the same for programs, and so does the metadata `preprocessing` of `model.onnx`",
        "EXIF orientation",
        "white show behind transparency",
        "images of more bits with 0 as black and 4,095 as white",
        "Resize its center square to 18x18, bilinear and antialiased",
        "by Pillow's `draft` to 36x36",
    ):
        assert words in text
    assert "with each image's own range" in card(replace(product(coatnet()), levels=None))


def test_nothing_is_claimed_that_is_not_known() -> None:
    bare = ExportedModel(architecture=coatnet(), trained_resolution=RESOLUTION, facts=CardFacts(title="Bare"))
    text = card(bare)
    assert "not measured for these weights" in text
    assert "| Training | not known |" in text
    assert "trained on no data that hybrid-nas knows of" in text
    for words in ("found by", "| None", "budget", "Test accuracy", "mean ="):
        assert words not in text


def test_a_zero_is_not_taken_for_unknown() -> None:
    facts = replace(FACTS, test_accuracy=0.0, seed=0, epochs=0, test_count=0)
    text = card(product(coatnet(), facts))
    assert "0.00% on the test split (0 images)" in text
    assert "0 epochs on digits" in text
    assert "seed 0" in text


def test_a_product_with_the_wrong_number_of_classes_is_our_fault() -> None:
    with pytest.raises(AssertionError):
        replace(product(coatnet()), class_names=CLASSES[:3])


def test_all_files_are_listed_with_their_sizes() -> None:
    text = card(product(coatnet()))
    size = format_quantity("memory_bytes", 2_500_000)
    assert f"| `model.onnx` | the network and its weights, as ONNX | {size} |" in text
    assert len([line for line in text.splitlines() if line.endswith(f"| {size} |")]) == len(FILES)
    assert "## Latency" not in text
