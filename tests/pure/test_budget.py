"""Budgets: what is read, what is refused and how, and that a budget writes itself exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.budget import Budget, Cost, check_budgets, format_quantity
from nas.errors import BudgetError
from nas.setting import Setting

READ = [
    ("4.2GFLOPs", "macs", 4_200_000_000),
    ("4.2 GFLOPs", "macs", 4_200_000_000),
    (" 4.2 G FLOPs\n", "macs", 4_200_000_000),
    ("4.2\u00a0GFLOPs", "macs", 4_200_000_000),
    ("4.2gflops", "macs", 4_200_000_000),
    ("4.2GFLOPS", "macs", 4_200_000_000),
    ("4.2GMACs", "macs", 4_200_000_000),
    ("600MMACs", "macs", 600_000_000),
    ("600mmac", "macs", 600_000_000),
    ("1e9MACs", "macs", 1_000_000_000),
    ("0.5TFLOP", "macs", 500_000_000_000),
    ("12KFLOPs", "macs", 12_000),
    ("7FLOPs", "macs", 7),
    ("7.9FLOPs", "macs", 7),
    ("25Mparams", "params", 25_000_000),
    ("25.04 M params", "params", 25_040_000),
    ("1.1Bparams", "params", 1_100_000_000),
    ("300kparam", "params", 300_000),
    ("8ms", "latency_s", 0.008),
    ("0.5s", "latency_s", 0.5),
    ("250us", "latency_s", 0.00025),
    ("200MB", "memory_bytes", 200_000_000),
    ("64kB", "memory_bytes", 64_000),
    ("64KB", "memory_bytes", 64_000),
    ("2GiB", "memory_bytes", 2**31),
    ("3B", "memory_bytes", 3),
]


@pytest.mark.parametrize(("text", "metric", "bound"), READ)
def test_text_is_read_exactly(text: str, metric: str, bound: float) -> None:
    budget = Budget.parse(text)
    assert (budget.metric, budget.bound) == (metric, bound)
    assert budget.setting == (None if metric in ("macs", "params") else Setting())
    assert type(budget.bound) is (float if metric == "latency_s" else int)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("8ms", Setting()),
        ("8ms@cpu", Setting()),
        ("8ms@cuda", Setting(device="cuda")),
        ("8ms@cuda:0", Setting(device="cuda")),
        ("8ms@mps", Setting(device="mps")),
        ("8ms @ onnxruntime : threads=2", Setting(runtime="onnxruntime", threads=2)),
        ("8ms@cuda:1:batch=32, dtype=float16", Setting(device="cuda:1", batch=32, dtype="float16")),
    ],
)
def test_latency_may_name_its_setting(text: str, setting: Setting) -> None:
    budget = Budget.parse(text)
    assert budget == Budget(metric="latency_s", bound=0.008, setting=setting)
    assert str(budget) == f"8ms@{setting}"
    assert Budget.parse(str(budget)) == budget


def test_latency_of_no_setting_is_that_of_torch_on_the_cpu() -> None:
    assert str(Budget.parse("8ms")) == "8ms@cpu"
    assert Budget(metric="latency_s", bound=0.008) == Budget.parse("8ms@torch")


def test_memory_may_name_its_dtype() -> None:
    budget = Budget.parse("512KiB:dtype=int8")
    assert budget == Budget(metric="memory_bytes", bound=2**19, setting=Setting(dtype="int8"))
    assert str(budget) == "524.288KB:dtype=int8"
    assert Budget.parse(str(budget)) == budget
    assert str(Budget.parse("200 MB : dtype=float32")) == "200MB"


def test_setting_that_a_metric_does_not_have_is_refused() -> None:
    with pytest.raises(BudgetError, match="Multiply-adds hold in every setting, but got cpu: leave it out"):
        Budget(metric="macs", bound=1, setting=Setting())
    with pytest.raises(BudgetError, match="has a dtype alone, but got cpu:batch=2: write 512KiB:dtype=int8"):
        Budget(metric="memory_bytes", bound=1, setting=Setting(batch=2))


REFUSED = [
    ("", "a number and a unit"),
    ("   ", "a number and a unit"),
    ("42", "no unit"),
    ("GFLOPs", "starts with a finite number"),
    ("NaNGFLOPs", "starts with a finite number"),
    ("infGFLOPs", "starts with a finite number"),
    ("0GFLOPs", "more than 0"),
    ("0.000e5GFLOPs", "more than 0"),
    ("-1G", "without a sign"),
    ("-1GFLOPs", "without a sign"),
    ("+1GFLOPs", "without a sign"),
    ("1e400GFLOPs", "No network spends as much"),
    ("1e999999999999GFLOPs", "No network spends as much"),
    ("1e-999999999999GFLOPs", "more than 0"),
    ("2000000TFLOPs", "No network spends as much"),
    ("0.5FLOPs", "less than one"),
    ("4.2 giraffes", "Unknown unit 'giraffes'"),
    ("4.2GFLPs", "did you mean GFLOPs?"),
    ("25Mparmas", "did you mean Mparams?"),
    ("4.2G", "did you mean GFLOPs?"),
    ("12Ms", "did you mean ms?"),
    ("200Mb", "did you mean MB?"),
    ("12msec", "did you mean ms?"),
    ("4,200MFLOPs", "thousands separators"),
    ("4,2GFLOPs", "thousands separators"),
    ("4_200MFLOPs", "thousands separators"),
    ("4 200 MFLOPs", "thousands separators"),
    ("٤GFLOPs", "plain digits"),
    ("8ms@gpu", "Unknown device 'gpu'"),
    ("8ms@", "Unknown device ''"),
    ("8ms@cpu@cuda", "one device or runtime"),
    ("8ms@cpu:threads=0", "threads of a setting must be a whole number from 1"),
    ("8ms@cpu:dtype=float63", "Unknown dtype 'float63'"),
    ("8ms@cpu:thread=2", "did you mean threads=…?"),
    ("8ms@onnxrutnime", "did you mean onnxruntime?"),
    ("8ms:threads=2", "follows an @"),
    ("4GFLOPs@cpu", "Only a time"),
    ("200MB@cpu", "Only a time"),
    ("4GFLOPs:dtype=int8", "Multiply-adds hold in every setting"),
    ("512KiB:threads=2", "has a dtype alone"),
    ("512KiB:dtype=int9", "Unknown dtype 'int9'"),
    ("512KiB:", "Unknown key ''"),
    ("1" * 101 + "GFLOPs", "at most 100 characters"),
    ("3 apples\nand pears", "Unknown unit"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_text_that_is_no_budget_is_refused_in_one_line_with_a_remedy(text: str, why: str) -> None:
    with pytest.raises(BudgetError) as caught:
        Budget.parse(text)
    message = str(caught.value)
    assert why in message
    assert "\n" not in message
    assert any(remedy in message for remedy in ("such as ", "did you mean", "write", "use ", "leave", "round"))


@given(st.text())
def test_any_text_is_a_budget_or_a_budget_error(text: str) -> None:
    try:
        budget = Budget.parse(text)
    except BudgetError as fault:
        assert "\n" not in str(fault)
    else:
        assert Budget.parse(str(budget)) == budget


NUMBERS = st.from_regex(r"[0-9]{1,12}(\.[0-9]{0,12})?(e[+-]?[0-9]{1,4})?", fullmatch=True)
UNITS = st.sampled_from(["GFLOPs", "MMACs", "MAC", "Mparams", "Bparams", "ms", "us", "s", "KiB", "MB", "B", "G", "x"])


@given(NUMBERS, UNITS, st.sampled_from(["", "@cpu", "@cuda:1:batch=2", ":dtype=int8"]))
def test_any_number_with_a_unit_is_a_budget_or_a_budget_error(number: str, unit: str, setting: str) -> None:
    try:
        budget = Budget.parse(number + unit + setting)
    except BudgetError:
        return
    assert Budget.parse(str(budget)) == budget


BOUNDS = {
    "macs": st.integers(1, 10**18),
    "params": st.integers(1, 10**18),
    "latency_s": st.floats(1e-25, 1e17, allow_subnormal=False),
    "memory_bytes": st.integers(1, 10**18),
}


@given(st.sampled_from(sorted(BOUNDS)).flatmap(lambda metric: st.tuples(st.just(metric), BOUNDS[metric])))
def test_every_budget_round_trips_through_its_text(case: tuple[str, float]) -> None:
    metric, bound = case
    budget = Budget(metric=metric, bound=bound)
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("4200MMACs", "4.2GFLOPs"),
        ("600 mflops", "600MFLOPs"),
        ("4142000001MACs", "4.142000001GFLOPs"),
        ("25000Kparams", "25Mparams"),
        ("0.008s@cpu", "8ms@cpu"),
        ("200000KB", "200MB"),
    ],
)
def test_canonical_text_is_exact(text: str, canonical: str) -> None:
    assert str(Budget.parse(text)) == canonical


def test_whole_bound_given_as_float_is_the_same_budget() -> None:
    budget = Budget(metric="macs", bound=4.2e9)
    assert type(budget.bound) is int
    assert repr(budget) == repr(Budget.parse("4.2GFLOPs"))


@pytest.mark.parametrize("bound", [0, -1, float("nan"), float("inf"), 0.5, 10**19])
def test_bound_without_meaning_is_refused(bound: float) -> None:
    with pytest.raises(BudgetError):
        Budget(metric="macs", bound=bound)


def test_unknown_metric_is_refused() -> None:
    with pytest.raises(BudgetError, match="Unknown budget metric 'flops'"):
        Budget(metric="flops", bound=1)


def test_budget_allows_up_to_its_bound_and_tells_the_share() -> None:
    budget = Budget.parse("100FLOPs")
    assert budget.allows(Cost(macs=100, params=1))
    assert not budget.allows(Cost(macs=101, params=1))
    assert budget.share(Cost(macs=75, params=1)) == 0.75
    assert Budget.parse("8ms").allows(Cost(macs=1, params=1, latency_s=0.008))


def test_several_budgets_are_read_in_order() -> None:
    assert [str(b) for b in check_budgets(["25Mparams", "4.2GFLOPs"])] == ["25Mparams", "4.2GFLOPs"]
    assert check_budgets([]) == ()


def test_two_budgets_of_one_metric_are_refused() -> None:
    with pytest.raises(BudgetError, match="4.2GFLOPs and 600MFLOPs both bound multiply-adds: give one of them"):
        check_budgets(["4.2GFLOPs", "600MMACs"])


def test_a_search_can_be_held_to_memory() -> None:
    assert check_budgets([Budget.parse("200MB")]) == (Budget.parse("200MB"),)
    with pytest.raises(BudgetError, match="200MB and 524.288KB:dtype=int8 both bound memory"):
        check_budgets(["200MB", "512KiB:dtype=int8"])


def test_budgets_of_counts_latency_and_memory_hold_together() -> None:
    texts = ["4.2GFLOPs", "12ms@cpu:threads=1", "25Mparams", "100MB"]
    assert [str(budget) for budget in check_budgets(texts)] == texts


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("macs", 4_200_000_000, "4.20 GMACs"),
        ("macs", 999_999_999, "1.00 GMACs"),
        ("macs", 950, "950 MACs"),
        ("params", 25_036_948, "25.04 M params"),
        ("params", 12, "12 params"),
        ("latency_s", 0.0081, "8.10 ms"),
        ("latency_s", 2e-9, "0.00 us"),
        ("memory_bytes", 200_000_000, "200.00 MB"),
    ],
)
def test_quantities_are_written_for_people(metric: str, value: float, text: str) -> None:
    assert format_quantity(metric, value) == text


def test_cost_round_trips_through_plain_data() -> None:
    bare = Cost(macs=3, params=2)
    assert bare.to_dict() == {"macs": 3, "params": 2}
    full = Cost(macs=3, params=2, latency_s=0.5, peak_memory_bytes=9, setting="cpu, float32")
    assert [Cost.from_dict(cost.to_dict()) for cost in (bare, full)] == [bare, full]
    assert [full.value(metric) for metric in ("macs", "params", "latency_s", "memory_bytes")] == [3, 2, 0.5, 9]
