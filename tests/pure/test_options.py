"""Options as they are declared: what is refused, in which words, what the page says, and that they can be written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nas.budget import Budget
from nas.errors import BudgetError, OptionError
from nas.options import METHODS, SEARCHERS, MethodOptions, SearchOptions, declared, flag, option, register_method
from nas.options.declaration import Option, default_text, defaults
from nas.options.kinds import Choice, Share, Switch, Text, Whole, WholeOr
from nas.options.methods import methods_with_options
from nas.options.page import page

GIVEN: dict[str, Any] = {"space": "coatnet", "budgets": ("4.2GFLOPs",)}
PLAIN = SearchOptions.of(**GIVEN)


def test_defaults_are_valid() -> None:
    PLAIN.validate()
    assert (PLAIN.data, PLAIN.seed, PLAIN.searcher, PLAIN.method, PLAIN.min_share) == (
        "digits",
        0,
        None,
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
        ("objective", "latncy", "did you mean 'latency'"),
        ("objective", "macs,macs", "given twice"),
        ("objective", "latency", "add --budget 8ms@cpu"),
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
        ("workers", "all", "whole number from 0"),
        ("gpus_per_worker", 0, "above 0 and at most 1"),
        ("gpus_per_worker", 1.5, "above 0 and at most 1"),
        ("gpus_per_worker", float("nan"), "above 0 and at most 1"),
        ("gpus_per_worker", "half", "above 0 and at most 1"),
        ("cpu_workers", -1, "whole number from 0"),
        ("workers", True, "whole number from 0"),
        ("job_threads", 0, "whole number from 1"),
        ("job_threads", None, "whole number from 1"),
        ("job_timeout", 0, "whole number from 1"),
        ("max_memory", 10, "write 500MB or 2GB"),
        ("max_memory", 2.0, "write 500MB or 2GB"),
        ("max_memory", "2 gigs", "such as 500MB or 2GB"),
        ("time", "soon", "such as 90s, 20min"),
        ("ray", "head", "auto or HOST:PORT"),
        ("ray", "10.0.0.1:6379:", "auto or HOST:PORT"),
        ("ray", "ray://10.0.0.1:10001", "Ray Client addresses are not supported"),
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
    with pytest.raises(OptionError, match="Method 'mine' is not known here"):
        SearchOptions.from_dict({"space": "coatnet", "method": "mine", "method_options": {"own": 1}})


# -- what follows from the declarations -----------------------------------------------------------------------------


OWNERS: list[Any] = [SearchOptions, *methods_with_options()]
OPTIONS = [(owner, name, each) for owner in OWNERS for name, each in declared(owner).items()]


def given(owner: Any, name: str, value: object) -> SearchOptions:
    """A search with one option, by the method that has it."""
    method = {} if owner is SearchOptions else {"method": methods_with_options()[owner][0]}
    beside = {"parent": "a"} if name in ("parent_epochs", "layer_epochs", "parent_is_tuned", "importance") else {}
    return SearchOptions.of(**{**GIVEN, **method, **beside, name: value})


def wrong_values(each: Option) -> list[object]:
    kind = each.kind
    if isinstance(kind, Whole):
        return [kind.low - 1, kind.high + 1, str(kind.example), True, 2.5]
    if isinstance(kind, WholeOr):
        return [kind.low - 1, kind.high + 1, str(kind.low), True, 2.5, "nowhere"]
    if isinstance(kind, Share):
        return [-0.1, 1, float("nan"), "much", True]
    if isinstance(kind, Switch):
        return ["yes", 2]
    if isinstance(kind, Text):
        return ["", " ", "a\0b", 3]
    return ["nowhere", 3] if isinstance(kind, Choice) else []


def right_values(each: Option) -> list[object]:
    kind = each.kind
    if isinstance(kind, Whole):
        return [kind.low, kind.high, kind.example]
    if isinstance(kind, WholeOr):
        return [kind.low, kind.high, kind.word]
    if isinstance(kind, Share):
        return [0, kind.example]
    if isinstance(kind, Switch):
        return [True, False]
    return list(kind.known()) if isinstance(kind, Choice) else []


@pytest.mark.parametrize(("owner", "name", "each"), OPTIONS, ids=[f"{o.__name__}.{name}" for o, name, _ in OPTIONS])
def test_checks_follow_from_the_declaration(owner: Any, name: str, each: Option) -> None:
    for value in right_values(each):
        given(owner, name, value).validate()
    for value in wrong_values(each):
        with pytest.raises(OptionError) as caught:
            given(owner, name, value).validate()
        assert "\n" not in str(caught.value)
        assert flag(name).removeprefix("--") in str(caught.value)


def test_every_option_says_what_it_is_in_one_line() -> None:
    for owner, name, each in OPTIONS:
        assert each.help, (owner, name)
        assert "\n" not in each.help + each.default_help
        assert not each.help.endswith(".")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"calibrations": 3, "epochs": 2}, "different methods: --calibrations to --method calibrated, --epochs to"),
        ({"teacher": "a", "supernet": "b"}, "--teacher to --method blockwise, --supernet to --method supernet."),
        ({"scorer": "loss", "calibration_epochs": 1}, "Leave out all but those of one method"),
        ({"method": "nwot", "epochs": 3}, "--epochs 3 is an option of --method supernet or blockwise, and"),
        ({"method": "nwot", "calibrations": 3}, "--calibrations 3 is an option of --method calibrated, and"),
        ({"method": "calibrated", "supernet": "a"}, "--supernet a is an option of --method supernet, and --method cal"),
        ({"method": "supernet", "teacher": "a"}, "--teacher a is an option of --method blockwise, and --method super"),
        ({"method": "supernet", "strategy": "sequential"}, "Unknown value of --strategy 'sequential'"),
        ({"method": "blockwise", "strategy": "sandwich"}, "Known: sequential, side-by-side"),
        ({"method": "blockwise", "searcher": "bo"}, "--searcher bo: with --method blockwise"),
        ({"teacher": "a", "strategy": "sequential"}, "--teacher a --strategy sequential: with a teacher"),
        (
            {"supernet": "a", "epochs": 3},
            "--epochs 3 is an option of training a supernet, but that of --supernet a is trained already",
        ),
        (
            {"supernet": "a", "strategy": "sandwich"},
            "--strategy sandwich is an option of training a supernet, but",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused_with_what_to_leave_out(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError) as caught:
        SearchOptions.of(**GIVEN, **asked).validate()
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_another_method_given_as_a_value_are_refused() -> None:
    other = SearchOptions.of(**GIVEN, epochs=3).of_method()
    with pytest.raises(OptionError, match="of another method than nwot"):
        SearchOptions(**GIVEN, method="nwot", method_options=other).validate()


def test_a_method_s_options_are_kept_where_the_method_stays() -> None:
    trained = SearchOptions.of(**GIVEN, epochs=3)
    assert trained.replaced(seed=4).of_method() == trained.of_method()
    assert trained.replaced(method="nwot") == SearchOptions.of(**GIVEN, method="nwot")


# -- the page of options -----------------------------------------------------------------------------------------------


def test_the_page_of_options_is_up_to_date() -> None:
    """If this fails: python -m nas.options.page > docs/options.md."""
    assert (Path(__file__).parents[2] / "docs/options.md").read_text() == page()


def rows(text: str, heading: str) -> list[str]:
    """The rows of the table under a heading."""
    _, _, rest = text.partition(f"\n#{heading}\n")
    return [line for line in rest.split("\n#")[0].splitlines() if line.startswith("| `")]


def test_every_option_stands_on_the_page_once_under_its_heading() -> None:
    text = page()
    for owner, name, each in OPTIONS:
        heading = f"# {each.group.capitalize()}"
        if owner is not SearchOptions:
            heading = f"## `--method {methods_with_options()[owner][0]}`"
        found = [row for row in rows(text, heading) if row.startswith((f"| `{flag(name)} ", f"| `{flag(name)}`"))]
        assert len(found) == 1, (heading, name)
        assert found[0].endswith(f"| {default_text(each, defaults(owner)[name])} |")
        assert each.help[1:] in found[0]


def test_every_method_and_searcher_stands_on_the_page() -> None:
    methods, searchers = rows(page(), "# Methods"), rows(page(), "# Searchers")
    for name in METHODS:
        (row,) = [row for row in methods if f"`{name}`" in row]
        assert row.endswith(f"| {METHODS[name].about} |")
    for name in SEARCHERS:
        (row,) = [row for row in searchers if f"| `{name}` |" in row]
        assert not row.endswith("|  |")


def test_the_page_is_made_without_torch() -> None:
    code = "import sys; from nas.options.page import page; print(page(), end=''); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, page()), done.stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavored(MethodOptions):
    """Options of a method from outside."""

    flavor: str = option("salty", kind=Choice(("salty", "sweet")), help="what it tastes of")


@pytest.fixture
def flavored() -> Iterator[None]:
    register_method("flavored", "nowhere:Nothing", options=Flavored, about="a matter of taste")
    yield
    METHODS.remove("flavored")


@pytest.mark.usefixtures("flavored")
def test_a_method_from_outside_brings_its_options_along() -> None:
    assert "| `flavored` | a matter of taste |" in page()
    assert "| `--flavor X` | What it tastes of | salty or sweet | salty |" in page()
    options = SearchOptions.of(**GIVEN, flavor="sweet")
    options.validate()
    assert (options.method, options.of_method()) == ("flavored", Flavored(flavor="sweet"))
    assert SearchOptions.from_dict(options.to_dict()) == options
    assert options.command()[-2:] == ["--flavor", "sweet"]
    with pytest.raises(OptionError, match="Unknown value of --flavor 'swet': did you mean 'sweet'"):
        SearchOptions.of(**GIVEN, flavor="swet").validate()
    with pytest.raises(OptionError, match="--epochs 3 is an option of --method supernet or blockwise, and --method fl"):
        SearchOptions.of(**GIVEN, method="flavored", epochs=3)


@pytest.mark.parametrize(
    ("word", "seconds"),
    [("90s", 90), ("20min", 1200), ("2h", 7200), ("1h30min", 5400), ("1.5h", 5400), ("1d", 86_400), ("120", 120)],
)
def test_a_time_is_read_in_seconds_and_spelled_again(word: str, seconds: int) -> None:
    kind = declared(SearchOptions)["time"].kind
    assert kind.read("time", word) == seconds
    options = SearchOptions.of(**GIVEN, time=seconds)
    options.validate()
    words = options.command()
    assert kind.read("time", words[words.index("--time") + 1]) == seconds


@pytest.mark.parametrize("word", ["", "h", "20 min", "20m", "1h x", "-2h", "2hours", "1..5h"])
def test_what_is_no_time_is_refused_with_what_is(word: str) -> None:
    with pytest.raises(OptionError, match=r"--time .*: give a time with its unit, such as 90s, 20min, 2h or 1h30min\."):
        declared(SearchOptions)["time"].kind.read("time", word)


def test_times_and_sizes_may_have_units_in_python_too() -> None:
    written, counted = {"time": "1h30min", "max_memory": "2GB"}, {"time": 5400, "max_memory": 2 * 10**9}
    options = SearchOptions.of(**GIVEN, **written)
    options.validate()
    assert options == SearchOptions.of(**GIVEN, **counted)
    assert options.replaced(**written) == options


@pytest.mark.parametrize("seconds", [20, 0, 10**12, "20s", 60.0])
def test_a_time_that_no_search_can_have_is_refused(seconds: object) -> None:
    with pytest.raises(OptionError, match="--time must be at least 30 whole seconds"):
        SearchOptions.of(**GIVEN, time=seconds).validate()


@pytest.mark.parametrize("name", ["data", "out", "space"])
def test_texts_that_no_file_can_hold_are_refused(name: str) -> None:
    given: dict[str, Any] = {**GIVEN, name: "photos\udce9"}
    with pytest.raises(OptionError, match=rf"--{name} photos\\udce9 has bytes that are no text in utf-8.*: rename it"):
        SearchOptions.of(**given).validate()
