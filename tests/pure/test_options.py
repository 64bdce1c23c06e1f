"""Search options: what is refused, in which words, and that they survive being written down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nas.budget import Budget
from nas.errors import BudgetError, OptionError
from nas.options import SearchOptions

GIVEN: dict[str, Any] = {"space": "coatnet", "budgets": ("4.2GFLOPs",)}
PLAIN = SearchOptions.of(**GIVEN)


def test_defaults_are_valid() -> None:
    PLAIN.validate()
    assert (PLAIN.data, PLAIN.seed, PLAIN.searcher, PLAIN.method, PLAIN.min_share) == (
        "digits",
        0,
        "evolution",
        "calibrated",
        0.75,
    )


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({}, "calibrated"),
        ({"calibrations": 8}, "calibrated"),
        ({"epochs": 3}, "supernet"),
        ({"strategy": "sandwich"}, "supernet"),
        ({"supernet": "runs/a"}, "supernet"),
        ({"strategy": "sequential"}, "blockwise"),
        ({"epochs": 3, "strategy": "sequential"}, "blockwise"),
        ({"teacher": "winners/1"}, "blockwise"),
        ({"method": "blockwise"}, "blockwise"),
        ({"method": "supernet"}, "supernet"),
        ({"method": "nwot"}, "nwot"),
    ],
)
def test_a_method_that_is_left_out_is_the_one_that_the_other_options_are_about(
    given: dict[str, Any], method: str
) -> None:
    options = SearchOptions.of(**GIVEN, **given)
    options.validate()
    assert options.method == method
    assert SearchOptions.from_dict(options.to_dict()) == options


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("searcher", "evolutoin", "did you mean 'evolution'"),
        ("method", "supernets", "did you mean 'supernet'"),
        ("strategy", "sandwhich", "did you mean 'sandwich'"),
        ("scorer", "los", "did you mean 'loss'"),
        ("supernet", " ", "must be a name or a path"),
        ("teacher", "", "must be a name or a path"),
        ("calibrations", 1, "whole number from 2"),
        ("calibration_epochs", 0, "whole number from 1"),
        ("metric", "balanced_accuracy", "did you mean 'balanced-accuracy'"),
        ("objective", "latency", "Known: macs"),
        ("dtype", "float16", "Known: auto, bfloat16, float32"),
        ("augment", "cropflip", "did you mean 'crop-flip'"),
        ("on_corrupt", "ignore", "Known: refuse, skip"),
        ("device", "gpu", "Known: auto, cpu, cuda"),
        ("device", "cuda:x", "did you mean"),
        ("space", " ", "must be a name or a path"),
        ("data", "a\0b", "must be a name or a path"),
        ("out", "", "must be a name or a path"),
        ("seed", -1, "whole number from 0"),
        ("seed", None, "whole number from 0"),
        ("trials", 0, "whole number from 1"),
        ("trials", 2.0, "whole number from 1"),
        ("trials", "12", "whole number from 1"),
        ("epochs", True, "whole number from 1"),
        ("finalists", 0, "whole number from 1"),
        ("finalist_epochs", -3, "whole number from 1"),
        ("resolution", 4, "whole number from 8"),
        ("train_resolution", 10**6, "whole number from 8"),
        ("threads", 0, "whole number from 1"),
        ("batch_size", 1, "whole number from 2"),
        ("min_share", 1, "below 1"),
        ("min_share", -0.1, "at least 0"),
        ("min_share", float("nan"), "at least 0"),
        ("min_share", "high", "at least 0"),
        ("workers", -1, "whole number from 0"),
        ("workers", True, "whole number from 0"),
        ("job_threads", 0, "whole number from 1"),
        ("job_threads", None, "whole number from 1"),
        ("job_timeout", 0, "whole number from 1"),
        ("ray", "head", "auto or HOST:PORT"),
        ("ray", "10.0.0.1:6379:", "auto or HOST:PORT"),
        ("ray", "ray://10.0.0.1:10001", "Ray Client addresses are not taken"),
        ("ray", 6379, "auto or HOST:PORT"),
        ("early_stopping", None, "must be true or false"),
        ("onnx", "yes", "must be true, false or left out"),
    ],
)
def test_wrong_value_is_refused_in_one_line_that_names_option_and_value(name: str, value: Any, why: str) -> None:
    with pytest.raises(OptionError) as caught:
        SearchOptions.of(**{**GIVEN, name: value}).validate()
    message = str(caught.value)
    assert why in message
    assert name.replace("_", "-") in message
    assert "\n" not in message


@pytest.mark.parametrize("ray", ["auto", "10.0.0.1:6379", "head.example.org:6379", "localhost:1", "[::1]:6379"])
def test_a_cluster_is_named_by_its_address(ray: str) -> None:
    PLAIN.replaced(ray=ray).validate()
    PLAIN.replaced(ray=ray, workers=2).validate()
    with pytest.raises(OptionError, match="--workers 0: .* Leave out one of the two"):
        PLAIN.replaced(ray=ray, workers=0).validate()


def test_wrong_budget_is_refused() -> None:
    with pytest.raises(BudgetError, match="giraffes"):
        PLAIN.replaced(budgets=("4.2 giraffes",)).validate()


def test_budgets_may_be_given_as_values() -> None:
    assert SearchOptions.of(space="s", budgets=(Budget.parse("4.2GFLOPs"),)) == PLAIN.replaced(space="s")  # type: ignore[arg-type]


@pytest.mark.parametrize("budgets", ["4.2GFLOPs", None])
def test_budgets_must_be_a_list(budgets: Any) -> None:
    with pytest.raises(OptionError, match="budgets must be a list"):
        SearchOptions.of(space="s", budgets=budgets)


def test_options_round_trip_through_json() -> None:
    options = SearchOptions.of(
        space="coatnet", out="runs/a", trials=12, strategy="single-path", onnx=False, min_share=0.0
    )
    assert SearchOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_written_options_are_checked_on_reading() -> None:
    with pytest.raises(OptionError, match="Unknown option 'trails': did you mean 'trials'"):
        SearchOptions.from_dict({"space": "coatnet", "trails": 3})
    with pytest.raises(OptionError, match="needs a space"):
        SearchOptions.from_dict({"trials": 3})
    with pytest.raises(OptionError, match="--trials must be"):
        SearchOptions.from_dict({"space": "coatnet", "trials": 0})
