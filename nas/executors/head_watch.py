"""Whether a cluster's head still answers. Without one, Ray waits, or ends this process without a word of use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from nas.errors import OptionError, RunError
from nas.executors.address import check_answers

EVERY_S = 5.0
GONE_S = 30.0
"""How long a head may be out of reach. After 60 s, Ray's own code would end this process."""
GRACE_S = 15.0
"""How long the work in progress may take to notice."""


class ClusterError(RunError):
    """The cluster that the jobs ran on is gone."""


class HeadWatch:
    """Asks a cluster's head for a sign of life every few seconds, from a thread of its own.

    Args:
        address: HOST:PORT.
        at_loss: Called with what happened when the head is gone and the work in progress does not notice, as it waits
            within Ray.
    """

    def __init__(
        self,
        address: str,
        at_loss: Callable[[str], None] | None = None,
        *,
        every_s: float = EVERY_S,
        gone_s: float = GONE_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._address, self._at_loss = address, at_loss
        self._every_s, self._gone_s, self._grace_s = every_s, gone_s, grace_s
        self._lost = False
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="head watch", daemon=True).start()

    def check(self) -> None:
        """Raises once the head has been gone for long.

        Raises:
            ClusterError: If it has.
        """
        if self._lost:
            raise ClusterError(self._words())

    def explain(self, fault: Exception) -> None:
        """Raises if a fault comes of the head being gone.

        Raises:
            ClusterError: If the head does not answer now.
        """
        if self._lost or not self._answers():
            raise ClusterError(self._words()) from fault

    def close(self) -> None:
        """Ends the watch."""
        self._over.set()

    def _watch(self) -> None:
        seen = time.monotonic()
        while not self._over.wait(self._every_s):
            if self._answers():
                seen = time.monotonic()
            elif time.monotonic() - seen > self._gone_s:
                break
        if self._over.is_set():
            return
        self._lost = True
        if not self._over.wait(self._grace_s) and self._at_loss is not None:
            self._at_loss(self._words())

    def _answers(self) -> bool:
        with suppress(OptionError):
            check_answers(self._address)
            return True
        return False

    def _words(self) -> str:
        return f"The Ray cluster at {self._address} does not answer any more; what was done is on disk."
