"""`import nas`: names are found when asked for, and a wrong one is an ordinary attribute error."""

from __future__ import annotations

import inspect
from importlib import metadata

import pytest

import nas


@pytest.mark.parametrize("name", nas.__all__)
def test_every_public_name_is_a_documented_function_or_class(name: str) -> None:
    found = getattr(nas, name)
    assert inspect.isfunction(found) or inspect.isclass(found)
    assert found.__doc__


def test_public_names_are_listed() -> None:
    assert set(nas.__all__) <= set(dir(nas))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nas' has no attribute 'serach'"):
        nas.serach  # noqa: B018


def test_version_is_that_of_the_distribution() -> None:
    assert nas.__version__ == metadata.version("hybrid-nas")


def test_errors_are_one_line_whatever_they_quote() -> None:
    assert str(nas.errors.RunError("made for a\nb\r\nc\u2028d: start again")) == "made for a b c d: start again"
