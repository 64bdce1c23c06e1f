"""Whether a cluster's head, and this process's own node, still answer.

Without either, Ray waits for ever, or ends this process without a word of use.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from nas.errors import OptionError, RunError
from nas.executors.address import SECONDS, check_answers

EVERY_S = 5.0
GONE_S = 30.0
"""How long a head, or a node, may be out of reach. After 60 s, Ray's own code would end this process."""
GRACE_S = 15.0
"""How long the work in progress may take to notice."""
ENDED_S, ENDED_GRACE_S = 1.0, 4.0
"""How often it is looked whether the node has ended, and how long the work may take to notice that: Ray ends this
process when it hears of it, some ten seconds later."""


class ClusterError(RunError):
    """The cluster that the jobs ran on is gone."""


class HeadWatch:
    """Asks a cluster's head, and the node that this process is a part of, for a sign of life every few seconds.

    It does so from a thread of its own. A node whose port refuses is gone at once, since no node comes back; Ray ends
    this process as soon as it looks for something that was kept there.

    Args:
        address: HOST:PORT of the head.
        at_loss: Called with what happened when one of them is gone and the work in progress does not notice, as it
            waits within Ray.
        node: HOST:PORT of the node, which is on this machine.
    """

    def __init__(
        self,
        address: str,
        at_loss: Callable[[str], None] | None = None,
        *,
        node: str | None = None,
        every_s: float = EVERY_S,
        gone_s: float = GONE_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._address, self._node, self._at_loss = address, node, at_loss
        self._every_s, self._gone_s, self._grace_s = every_s, gone_s, grace_s
        self._lost: str | None = None
        self._ending, self._over = threading.Event(), threading.Event()
        threading.Thread(target=self._watch, name="head watch", daemon=True).start()

    def check(self) -> None:
        """Raises once the head or the node has been gone for long, or the node has ended.

        Raises:
            ClusterError: If so.
        """
        if self._lost is None and self._node is not None and _refuses(self._node):
            self._lost = self._node
        if self._lost is not None:
            raise ClusterError(self._words(self._lost))

    def explain(self, fault: Exception) -> None:
        """Raises if a fault comes of the head or the node being gone.

        Raises:
            ClusterError: If one of them does not answer now.
        """
        lost = self._lost or next((place for place in self._places() if not _answers(place)), None)
        if lost is not None:
            raise ClusterError(self._words(lost)) from fault

    def ending(self) -> None:
        """From now on either may end. What ends Ray waits for one that is stopped: such a one is still noticed."""
        self._ending.set()

    def close(self) -> None:
        """Ends the watch."""
        self._over.set()

    def _places(self) -> list[str]:
        return [self._address] if self._node is None else [self._node, self._address]

    def _watch(self) -> None:
        asked = time.monotonic()
        seen, grace_s = dict.fromkeys(self._places(), asked), self._grace_s
        while self._lost is None and not self._over.wait(min(self._every_s, ENDED_S)):
            if self._node is not None and _refuses(self._node) and not self._ending.is_set():
                self._lost, grace_s = self._node, min(grace_s, ENDED_GRACE_S)
            elif time.monotonic() - asked >= self._every_s:
                asked = time.monotonic()
                self._lost = self._silent(seen)
        if self._lost is None or self._over.is_set():
            return
        if not self._over.wait(grace_s) and self._at_loss is not None:
            self._at_loss(self._words(self._lost))

    def _silent(self, seen: dict[str, float]) -> str | None:
        """Asks all; returns one that has been out of reach for too long, by when each was seen last."""
        for place, last in seen.items():
            if _answers(place) or (_refuses(place) and self._ending.is_set()):
                seen[place] = time.monotonic()
            elif time.monotonic() - last > self._gone_s:
                return place
        return None

    def _words(self, lost: str) -> str:
        what = "node of this process" if lost == self._node else "cluster"
        return f"The Ray {what} at {lost} does not answer any more; what was done is on disk."


def _answers(place: str) -> bool:
    with suppress(OptionError):
        check_answers(place)
        return True
    return False


def _refuses(place: str) -> bool:
    """Whether nothing listens at a port of this machine."""
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
