"""A cluster whose head is gone ends the search with a line that says how to go on, also where Ray waits."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

import nas.executors
from nas.cli import search as command
from nas.cli.console import Console
from nas.cli.main import _how_to_go_on
from nas.errors import OptionError, RunError
from nas.executors import head_watch
from nas.executors.head_watch import ClusterError, HeadWatch
from nas.options import SearchOptions
from nas.run import Run


class Head:
    """A head that answers until it is told not to, and so does a node of the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gone = False
        self.silent_node: str | None = None
        self.asked = threading.Event()
        monkeypatch.setattr(head_watch, "check_answers", self.answer)

    def answer(self, address: str) -> None:
        self.asked.set()
        if self.gone or address == self.silent_node:
            raise OptionError(f"--ray {address}: no cluster there")


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Head:
    return Head(monkeypatch)


def waited(reached: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not reached() and time.monotonic() < end:
        time.sleep(0.01)
    return reached()


def lost(watch: HeadWatch) -> bool:
    try:
        watch.check()
    except ClusterError:
        return True
    return False


def test_a_head_that_answers_is_not_lost_and_one_that_is_gone_is(head: Head) -> None:
    said: list[str] = []
    watch = HeadWatch("127.0.0.1:1", said.append, every_s=0.01, gone_s=0.1, grace_s=0.1)
    assert head.asked.wait(60)
    time.sleep(0.3)
    assert not lost(watch)
    head.gone = True
    assert waited(lambda: lost(watch))
    with pytest.raises(ClusterError, match=r"The Ray cluster at 127\.0\.0\.1:1 does not answer any more"):
        watch.check()
    assert waited(lambda: bool(said)), "the work in progress did not notice"
    watch.close()


def test_nothing_is_called_once_the_work_has_noticed(head: Head) -> None:
    said: list[str] = []
    head.gone = True
    watch = HeadWatch("127.0.0.1:1", said.append, every_s=0.01, gone_s=0.0, grace_s=0.5)
    assert waited(lambda: lost(watch))
    watch.close()
    time.sleep(1)
    assert said == []


def test_only_faults_of_a_cluster_that_is_gone_are_explained_by_it(head: Head) -> None:
    watch = HeadWatch("127.0.0.1:1", every_s=60)
    watch.explain(ValueError("a bug"))
    head.gone = True
    with pytest.raises(ClusterError) as caught:
        watch.explain(ConnectionError("raw words"))
    assert "raw words" not in str(caught.value)
    watch.close()


def test_a_port_where_nothing_listens_is_a_head_that_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    watch = HeadWatch(f"127.0.0.1:{port}", every_s=0.01, gone_s=0.05)
    assert waited(lambda: lost(watch))
    watch.close()


def test_a_node_that_has_ended_is_noticed_by_the_next_check_and_explains_faults(head: Head) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = f"127.0.0.1:{server.getsockname()[1]}"
        watch = HeadWatch("127.0.0.1:1", node=node, every_s=60)
        watch.check()
    with pytest.raises(ClusterError, match=rf"The Ray node of this process at {node} does not answer any more"):
        watch.check()
    head.silent_node = node
    with pytest.raises(ClusterError, match="The Ray node of this process"):
        watch.explain(ConnectionError("raw words"))
    watch.close()


def test_work_that_does_not_notice_that_its_node_has_ended_ends_before_ray_ends_it(head: Head) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = f"127.0.0.1:{server.getsockname()[1]}"
        watch = HeadWatch("127.0.0.1:1", said.append, node=node)
        time.sleep(2)
    ended = time.monotonic()
    assert waited(lambda: bool(said))
    assert time.monotonic() - ended < 10
    watch.close()


def test_a_node_that_is_stopped_is_lost_though_the_head_answers(head: Head) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:  # connects, as a stopped process does, and says nothing
        node = f"127.0.0.1:{server.getsockname()[1]}"
        watch = HeadWatch("127.0.0.1:1", said.append, node=node, every_s=0.01, gone_s=0.1, grace_s=0.1)
        time.sleep(0.3)
        assert not lost(watch)
        head.silent_node = node
        assert waited(lambda: lost(watch))
        assert waited(lambda: bool(said)), "the work in progress did not notice"
    assert f"The Ray node of this process at {node} does not answer any more" in said[0]
    watch.close()


def test_while_ray_is_shut_down_a_node_may_end_but_not_stand_still(head: Head) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = f"127.0.0.1:{server.getsockname()[1]}"
    watch = HeadWatch(node, said.append, node=node, every_s=0.01, gone_s=0.1, grace_s=0.1)
    watch.ending()
    head.silent_node = node
    time.sleep(0.5)
    assert said == [], "it has ended, as it should"
    watch.close()
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = head.silent_node = f"127.0.0.1:{server.getsockname()[1]}"
        watch = HeadWatch("127.0.0.1:1", said.append, node=node, every_s=0.01, gone_s=0.1, grace_s=0.1)
        watch.ending()
        assert waited(lambda: bool(said)), "what ends Ray waits for it"
    watch.close()


def test_the_last_words_name_the_run_and_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console, options = Console(quiet=True), SearchOptions.of(space="coatnet")
    monkeypatch.setattr(nas.executors, "wants_ray", lambda _: False)
    console.run = tmp_path / "a run"
    with (
        pytest.raises(RunError, match=r"it is gone Nothing was recorded yet: start again\."),
        command._backend(options, console),
    ):
        raise ClusterError("it is gone")
    Run.create(console.run, {}).close()
    words = r"it is gone To go on without it: nas-search --resume '.*a run' --workers 0"
    with pytest.raises(RunError, match=words), command._backend(options, console):
        raise ClusterError("it is gone")


@pytest.mark.parametrize("recorded", ["10.0.0.1:6379", "evil.example:1"])
def test_a_cluster_that_a_run_names_is_joined_only_if_it_is_given_again(
    tmp_path: Path, recorded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Run.create(tmp_path / "run", {"options": {"space": "coatnet", "ray": recorded, "budgets": ["1GFLOPs"]}}).close()

    def joined(*_: object) -> None:
        raise AssertionError("joined")

    monkeypatch.setattr(command, "_backend", joined)
    for given in ({}, {"job_timeout": 60}, {"cpu_workers": 1}):
        with pytest.raises(OptionError, match=f"used the Ray cluster at {recorded}: give --ray {recorded} to use it"):
            command._resume(tmp_path / "run", given, [], Console(quiet=True))
    for given in ({"ray": recorded}, {"workers": 0}):
        with pytest.raises(AssertionError, match="joined"):
            command._resume(tmp_path / "run", given, [], Console(quiet=True))


@pytest.mark.parametrize(("ray", "words"), [(None, ""), ("auto", ""), ("10.0.0.1:6379", " --ray 10.0.0.1:6379")])
def test_an_interrupted_search_says_which_cluster_to_give_again(
    tmp_path: Path, ray: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.executors, "open_backend", lambda *_: nullcontext())
    console = Console(quiet=True)
    console.run = Path("run")
    monkeypatch.chdir(tmp_path)
    Run.create("run", {}).close()
    with command._backend(SearchOptions.of(space="coatnet", ray=ray), console):
        assert _how_to_go_on(console) == f"Interrupted. To go on: nas-search --resume run{words}"
