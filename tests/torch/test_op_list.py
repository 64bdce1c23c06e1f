"""The list of ops: every op and parameter with a text, from the definitions, and the page up to date."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from nas.cli.main import main
from nas.networks.op_list import COMMON, all_ops, describe_op, page
from nas.ops import OPS, op


def test_the_page_is_up_to_date() -> None:
    """If this fails: python -m nas.networks.op_list > docs/ops.md."""
    assert (Path(__file__).parents[2] / "docs/ops.md").read_text() == page()


def test_every_parameter_has_a_text_and_every_common_text_a_use() -> None:
    parameters = [(entry.name, each) for entry in all_ops() for each in entry.parameters]
    assert [(name, each.name) for name, each in parameters if not each.about] == []
    assert all(entry.about for entry in all_ops())
    assert {each.about for _, each in parameters} >= set(COMMON.values())


def test_an_op_is_described_by_its_definition() -> None:
    entry = describe_op("mbconv")
    assert entry.about.startswith("Inverted residual branch")
    assert [each.name for each in entry.parameters] == [each.name for each in dataclasses.fields(OPS["mbconv"].Config)]
    found = {each.name: each for each in entry.parameters}
    assert (found["width"].type, found["width"].default) == ("whole number", None)
    assert found["stride_in"].default == "expand"
    assert found["stride_in"].about.startswith('Which convolution carries the stride: "expand"')
    assert describe_op("attention").parameters[2].type == "whole number or null"


@pytest.fixture
def own() -> Generator[None, None, None]:
    @op("my_listed")
    class _Mine(nn.Module):
        """Does what I want.

        Args:
            many: How many, counted
                over two lines.
        """

        @dataclass(frozen=True)
        class Config:
            many: int = 3

    yield
    del OPS["my_listed"]


@pytest.mark.usefixtures("own")
def test_nas_ops_lists_and_describes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ops"]) == 0
    out = capsys.readouterr().out
    assert "my_listed            Does what I want." in out
    assert f"{len(OPS)} ops." in out
    assert main(["ops", "my_listed"]) == 0
    assert "many       whole number  3\n    How many, counted over two lines." in capsys.readouterr().out
    assert main(["ops", "--json"]) == 0
    assert {entry["name"] for entry in json.loads(capsys.readouterr().out)} == set(OPS)
    assert main(["ops", "mbcnov"]) == 2
    assert "did you mean 'mbconv'" in capsys.readouterr().err
