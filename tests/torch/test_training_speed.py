"""The rate of training that plans are made by."""

from __future__ import annotations

import math

import pytest

from nas.architecture import Architecture
from nas.training import Recipe, speed
from nas.training.speed import measure_images_per_second

from .training_cases import member, recipe, tiny_space


def test_the_mean_is_over_the_time_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = member(tiny_space(), "CA", 0), member(tiny_space(), "AA", 1)

    def seconds(architecture: Architecture, _: Recipe) -> float:
        return 0.5 if architecture == fast else 1.5

    monkeypatch.setattr(speed, "_seconds_per_image", seconds)
    assert measure_images_per_second([fast, slow], recipe()) == 1.0


def test_a_network_is_timed_after_its_first_steps_and_for_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = [0]

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            reads[0] += 1
            return 0.3 * reads[0]

    monkeypatch.setattr(speed, "time", Clock)
    # Three steps at least, and two more until 0.8 seconds are over by this clock, whose last read is the fifth.
    assert math.isclose(measure_images_per_second([member(tiny_space())], recipe()), 5 * 12 / (4 * 0.3))


def test_what_is_timed_trains() -> None:
    assert 0 < measure_images_per_second([member(tiny_space())], recipe()) < math.inf
