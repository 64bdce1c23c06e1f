"""Which cluster is meant, and that one which does not answer is told of at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nas.errors import OptionError
from nas.executors import address
from nas.executors.address import find_address, is_on_loopback

# What a gRPC server says first: an empty frame of settings.
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@contextmanager
def listening(answer: bytes | None) -> Generator[str, None, None]:
    """A server that speaks to one caller first, or is silent (None)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            caller, _ = server.accept()
            with caller:
                if answer is not None:
                    caller.sendall(answer)
                done.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        done.set()
        thread.join()


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(address, "SECONDS", 0.2)


def known_here(tmp_path: Path, where: str) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(where + "\n")


def test_an_address_that_answers_is_taken() -> None:
    with listening(SETTINGS) as where:
        assert find_address(where) == where


def test_auto_is_what_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known_here(tmp_path, "127.0.0.1:1")
    with listening(SETTINGS) as where:
        monkeypatch.setenv("RAY_ADDRESS", where)
        assert find_address("auto") == where


def test_auto_is_the_cluster_that_this_machine_is_part_of(tmp_path: Path) -> None:
    with listening(SETTINGS) as where:
        known_here(tmp_path, where)
        assert find_address("auto") == where


def test_auto_without_a_cluster_is_refused() -> None:
    with pytest.raises(OptionError, match=r"--ray auto: no cluster there \(this machine is part of none\)\. Start one"):
        find_address("auto")


@pytest.mark.parametrize(
    ("answer", "why"),
    [(b"HTTP/1.0 400 Bad", "no Ray head"), (None, "timed out: .* no Ray head")],
)
def test_what_is_no_ray_head_is_refused(answer: bytes | None, why: str) -> None:
    with listening(answer) as where, pytest.raises(OptionError, match=f"--ray {where}: no cluster there .*{why}"):
        find_address(where)


@pytest.mark.parametrize("where", ["127.0.0.1:1", "127.0.0.1:99999", "no-such-host.invalid:6379", "http://a:b"])
def test_where_nothing_is_one_line_says_so(where: str) -> None:
    with pytest.raises(OptionError, match=f"--ray {where}") as caught:
        find_address(where)
    assert "\n" not in str(caught.value)


def test_a_cluster_is_on_loopback_if_the_network_does_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(address, "_network_address", lambda: "127.0.0.2")
        assert is_on_loopback(where)
        assert is_on_loopback(where.replace("127.0.0.1", "localhost"))
        monkeypatch.setattr(address, "_network_address", lambda: "127.0.0.1")  # as if it listened there too
        assert not is_on_loopback(where)
    assert not is_on_loopback("192.0.2.1:6379")
