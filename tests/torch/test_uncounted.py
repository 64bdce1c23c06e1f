"""Work that the counter has no formula for is said with its name and count, not left out silently."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.costs.aten_ops import NO_MULTIPLY_ADDS, aten_op
from nas.costs.count_table import CountTable
from nas.costs.counter import MacCounter, count
from nas.costs.profiling import profile
from nas.networks.loading import load_architecture
from nas.ops import OPS, Shape, make
from nas.spaces.catalog.files import zoo_names

from .cases import OPS_VARIED
from .test_ops import tokened, varied

META = torch.device("meta")


class Unknown(nn.Module):
    """A cumulative sum, which has no formula, after a convolution, which has one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.shape = Shape(4, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).cumsum(-1).cumsum(-2)


def test_an_op_without_a_formula_is_listed_with_its_calls() -> None:
    with torch.device("meta"):
        found = count(Unknown(), Shape(3, 8, 8))
    assert found.macs == 3 * 4 * 8 * 8
    assert found.unsupported == (("cumsum", 2),)


def test_a_matrix_and_a_vector_are_multiplied_in_as_many_multiply_adds_as_the_matrix_has_numbers() -> None:
    with torch.device("meta"), MacCounter() as counter:
        _ = torch.empty(5, 7) @ torch.empty(7)
    assert (counter.macs, dict(counter.unsupported)) == (35, {})


def test_every_op_of_the_zoo_has_no_uncounted_work_or_says_why() -> None:
    scanning = set()
    for name in zoo_names():
        found = profile(load_architecture(name))
        assert set(found.unsupported) == set(found.reasons), name
        if found.unsupported:
            scanning.add(name.split("_")[0])
    assert "mambavision" in scanning
    assert "coatnet" not in scanning


def test_nas_profile_shows_what_is_not_counted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nas.cli.main", "profile", "mambavision_t"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "x exp" in done.stdout
    assert "mamba: elementwise selective scan" in done.stdout


def counted(work: Callable[..., Any], *shapes: tuple[int, ...], device: str = "meta") -> tuple[int, dict[str, int]]:
    """The multiply-adds and unsupported ops of a function of tensors."""
    tensors = [torch.empty(shape, device=device) for shape in shapes]
    with torch.no_grad(), MacCounter() as counter:
        work(*tensors)
    return counter.macs, dict(counter.unsupported)


@pytest.mark.parametrize(
    ("work", "shapes", "macs"),
    [
        (torch.mv, [(7, 5), (5,)], 7 * 5),
        (torch.matmul, [(3, 7, 5), (5,)], 3 * 7 * 5),
        (torch.addmv, [(7,), (7, 5), (5,)], 7 * 5),
        (torch.dot, [(5,), (5,)], 5),
        (torch.vdot, [(5,), (5,)], 5),
        (torch.addr, [(7, 5), (7,), (5,)], 7 * 5),
        (torch.addbmm, [(7, 6), (3, 7, 5), (3, 5, 6)], 3 * 7 * 5 * 6),
        (torch.mm, [(7, 5), (5, 6)], 7 * 5 * 6),
        (nn.functional.conv1d, [(1, 4, 9), (6, 4, 3)], 6 * 7 * 4 * 3),
        (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(3, 7, 5), (3, 6, 5)], 3 * 7 * 6 * 5),
    ],
)
def test_matrix_products_have_formulas(work: Callable[..., Any], shapes: list[tuple[int, ...]], macs: int) -> None:
    assert counted(work, *shapes) == (macs, {})


def test_fused_attention_counts_on_cpu_tensors_as_on_meta() -> None:
    shape = (1, 2, 10, 8)
    expected = 2 * 2 * 10 * 10 * 8
    for device in ("meta", "cpu"):
        assert counted(nn.functional.scaled_dot_product_attention, shape, shape, shape, device=device)[0] == expected


@pytest.mark.parametrize(
    ("work", "shapes", "unsupported"),
    [
        (lambda x: x.cumsum(1), [(3, 7)], {"cumsum": 1}),
        (torch.fft.rfft2, [(3, 8, 8)], {"_fft_r2c": 1}),
        # A matrix product written out: neither half is a scale or a gate.
        (lambda a, b: (a[:, :, None] * b[None]).sum(1), [(3, 7), (7, 5)], {"mul": 1, "sum": 1}),
        (lambda x, scale: x * scale[:, None, None] + x, [(1, 3, 4, 4), (3,)], {}),
        (lambda x: x.mul_(2).relu_().softmax(1), [(3, 7)], {}),
    ],
)
def test_what_has_no_formula_is_listed(
    work: Callable[..., Any], shapes: list[tuple[int, ...]], unsupported: dict[str, int]
) -> None:
    assert counted(work, *shapes) == (0, unsupported)


def test_each_group_without_multiply_adds_lists_an_op_once_and_none_with_a_formula() -> None:
    names = [name for group in NO_MULTIPLY_ADDS.values() for name in group]
    assert len(names) == len(set(names))
    packets = [getattr(torch.ops.aten, name) for name in names if hasattr(torch.ops.aten, name)]
    overloads = [getattr(packet, packet.overloads()[0]) for packet in packets]
    assert [aten_op(overload).name for overload in overloads if aten_op(overload).macs is not None] == []


class Scan(nn.Module):
    """One step of a recurrence, which as elementwise work would not be listed."""

    uncounted = {"mul": "the recurrence"}  # noqa: RUF012

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x


def test_an_op_lists_elementwise_work_that_it_names() -> None:
    x = torch.empty(1, 3, 4, 4, device=META)
    network = nn.Sequential(Scan(), nn.Sigmoid(), Scan())
    with torch.no_grad(), MacCounter(network) as counter:
        torch.mul(network(x), x)
    assert counter.unsupported == {"mul": 2}
    with MacCounter() as after:
        network(x)
    assert after.unsupported == {}


def unsaid(names: set[str], ops: list[str]) -> set[str]:
    """Aten ops that none of the library's `ops` says it leaves uncounted."""
    return names - {name for op in ops for name in getattr(OPS[op], "uncounted", {})}


@pytest.mark.parametrize("op", OPS_VARIED)
def test_every_op_says_what_of_it_is_not_counted(op: str) -> None:
    config, changes = OPS_VARIED[op]
    for drawn, shape in [(config, tokened(op)), *((varied(op, name)[1], tokened(op, name)) for name in changes)]:
        with META:
            module = make({"op": op, **drawn}, shape)
        if op != "none":
            assert unsaid({name for name, _ in count(module, shape).unsupported}, [op]) == set()
    for name, reason in getattr(OPS[op], "uncounted", {}).items():
        assert hasattr(torch.ops.aten, name)
        assert len(reason) > 10


def test_the_products_of_a_selective_scan_of_four_positions_are_counted_by_hand() -> None:
    """Of 4: decay, step x input and its outer product; 3 of each of two levels; what is read, what is passed."""
    with META:
        module = make({"op": "mamba"}, shape := tokened("mamba")._replace(height=2, width=2))
    found = dict(count(module, shape).unsupported)
    assert (found["mul"], found["sum"]) == (3 + 2 * 3 + 2, 1)


def test_stored_counts_say_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    architecture = load_architecture("mambavision_t").at_resolution(192)
    first, second = CountTable(), CountTable()
    rows = first.architecture(architecture)
    first.save()
    monkeypatch.setattr("nas.costs.count_table.count", None)  # counting again would call it
    assert second.architecture(architecture) == rows
    assert sum(times for _, counted in rows for _, times in counted.unsupported) > 0
