"""Signals: work ends between its steps, at once when asked twice, and handlers are given back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from nas.run import signals as stopping
from nas.run.signals import SIGNALS, rearm, seconds_left, stoppable, uninterrupted


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """Those of a fresh Python, whatever the suite was started with."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_interrupt_and_the_handlers_are_given_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(KeyboardInterrupt), stoppable():
        send(number)
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_section_is_finished_before_the_interrupt(number: signal.Signals) -> None:
    done: list[str] = []

    def work() -> None:
        with uninterrupted():
            with uninterrupted():
                send(number)
                done.append("inner")
            done.append("outer")
        done.append("after")

    with stoppable():
        assert seconds_left() == float("inf")
        with pytest.raises(KeyboardInterrupt):
            work()
        assert done == ["inner", "outer"]
        assert 0 < seconds_left() <= stopping.LIMIT_S
        with uninterrupted():
            done.append("what is left to save")
    assert seconds_left() == float("inf")


def test_a_second_signal_cuts_a_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "ECHO_S", -1.0)
    told: list[str] = []
    done: list[str] = []

    def work() -> None:
        with uninterrupted():
            send(signal.SIGINT)
            done.append("first")
            send(signal.SIGTERM)
            done.append("second")

    with pytest.raises(KeyboardInterrupt), stoppable(lambda: told.append("told")):
        work()
    assert (done, told) == (["first"], ["told"])


def test_an_echo_of_the_first_signal_is_no_second_one() -> None:
    done: list[str] = []

    def work() -> None:
        with uninterrupted():
            send(signal.SIGINT)
            send(signal.SIGINT)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt), stoppable():
        work()
    assert done == ["whole"]


def test_a_fault_in_a_section_does_not_swallow_the_interrupt() -> None:
    def fail() -> None:
        with uninterrupted():
            send(signal.SIGINT)
            raise ValueError("a fault")

    with stoppable():
        with pytest.raises(ValueError, match="a fault"):
            fail()
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            pass


def test_handlers_of_ones_own_and_ignored_signals_stay() -> None:
    def own(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, own)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is own
        send(signal.SIGINT)


def test_a_block_within_a_block_leaves_the_handlers_to_the_outer_one() -> None:
    with stoppable():
        held = signal.getsignal(signal.SIGINT)
        with stoppable():
            pass
        assert signal.getsignal(signal.SIGINT) == held


def test_handlers_that_a_library_replaced_are_put_back() -> None:
    with stoppable():
        held = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *_: None)
        rearm()
        assert signal.getsignal(signal.SIGTERM) == held
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    rearm()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_other_threads_install_nothing_and_their_sections_defer_nothing() -> None:
    found: list[object] = []
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with stoppable(), uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))
            entered.set()
            leave.wait()

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait()
    try:
        with pytest.raises(KeyboardInterrupt), stoppable():
            send(signal.SIGINT)
    finally:
        leave.set()
        thread.join()
    assert found == [signal.default_int_handler]
