"""An object that says who writes a run; its owner renews it, and it is believed for two minutes after that."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

import msgspec

from nas.errors import RunError
from nas.run.events.base import Time, now
from nas.run.remote.store import ObjectStore

LOCK, CLAIM = ".lock.json", ".claim-"
STALE_S = 120.0
"""How long after its last renewal a lock holds: six uploads' time."""
_PAUSE_S = 1.0


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes a run.

    Attributes:
        session: Told apart from all others by a random name.
        renewed: By the owner's clock; for people.
    """

    session: str
    host: str
    process: int
    renewed: Time

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def owner(store: ObjectStore) -> Owner | None:
    """Returns who a run's lock names; None if nobody.

    Raises:
        RunError: If the storage refuses.
    """
    content = store.read(LOCK)
    try:
        return None if content is None else msgspec.json.decode(content, type=Owner)
    except msgspec.DecodeError:
        raise RunError(f"{store.url}/{LOCK} is damaged. Delete it if no search writes this run.") from None


def acquire(store: ObjectStore, session: str, *, earlier: str | None = None) -> None:
    """Makes a session the owner of a run.

    Ages are by the storage's clock alone. A storage has no lock of its own: of two that come at the same moment the one
    that wrote last is the owner, which both find out after a pause that is longer than what lies between reading
    the lock and writing it.

    Args:
        earlier: A session of this machine that has ended, whose lock is void.

    Raises:
        RunError: If another session owns it, or the storage refuses.
    """
    claim = f"{CLAIM}{session}"
    store.write(claim, b"")
    try:
        held = owner(store)
        if held is not None and held.session != earlier:
            age = store.modified(claim) - store.modified(LOCK)
            if age < STALE_S:
                raise RunError(
                    f"{store.url} is being written by {held}, which gave a sign {max(0.0, age):.0f} s ago. Stop it "
                    f"there; if it is dead already, try again in {STALE_S - max(0.0, age):.0f} s."
                )
        renew(store, session)
        time.sleep(_PAUSE_S)
        held = owner(store)
        if held is None or held.session != session:
            raise RunError(f"{store.url} is being written by {held or 'somebody else'}, which came at the same moment.")
    finally:
        store.delete([claim])


def renew(store: ObjectStore, session: str) -> None:
    """Writes the lock of its owner.

    Raises:
        RunError: If the storage refuses.
    """
    mine = Owner(session=session, host=socket.gethostname(), process=os.getpid(), renewed=now())
    store.write(LOCK, msgspec.json.encode(mine))


def release(store: ObjectStore, session: str) -> None:
    """Deletes the lock of its owner. Where the storage did not answer last, it is left, and void in two minutes."""
    if store.answers:
        with suppress(RunError):
            held = owner(store)
            if held is not None and held.session == session:
                store.delete([LOCK])
