"""Where a Ray cluster is, and whether anything answers there: Ray itself takes two minutes to say that nothing does."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from nas.errors import OptionError

SECONDS = 5.0
# Every HTTP/2 server, such as the one of a Ray head, greets back: RFC 9113, section 3.4.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4


def find_address(given: str) -> str:
    """HOST:PORT of the cluster that is meant, from which there is a sign of life.

    "auto" is the one that the environment names, as inside a Ray job, or that this machine became a part of last. Ray
    would also look for processes of its own, and find those of other searches.

    Raises:
        OptionError: If there is none.
    """
    if given != "auto":
        address = given
    elif os.environ.get("RAY_ADDRESS", "auto") != "auto":
        address = os.environ["RAY_ADDRESS"]
    else:
        try:
            address = (Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster").read_text().strip()
        except OSError:
            raise OptionError(_said(given, "this machine is part of none")) from None
    _check_answers(address)
    return address


def _check_answers(address: str) -> None:
    """Waits a few seconds for a sign of life."""
    host, _, port = address.rpartition(":")
    try:
        number = int(port)
    except ValueError:
        raise OptionError(f"--ray {address}: that is not HOST:PORT. Give what `ray start` printed.") from None
    try:
        with socket.create_connection((host.strip("[]"), number), timeout=SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "1":
                return
            connection.sendall(_GREETING)
            answer = connection.recv(9)
    except (OSError, OverflowError) as fault:
        raise OptionError(_said(address, (getattr(fault, "strerror", None) or str(fault)).lower())) from None
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise OptionError(_said(address, "what answers is no Ray head"))


def _said(address: str, reason: str) -> str:
    return (
        f"--ray {address}: no cluster there ({reason}). Start one by `ray start --head`, or leave --ray out to start "
        "workers on this machine."
    )
