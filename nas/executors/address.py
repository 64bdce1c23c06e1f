"""Where a Ray cluster is, and whether it answers: Ray itself takes seven minutes to say that something else does."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from pathlib import Path

from nas.errors import OptionError

SECONDS = 5.0
# Type of the frame that a Ray head, like every gRPC server, sends unasked on each connection: RFC 9113, section 3.4.
_SETTINGS = b"\x04"


def find_address(given: str) -> str:
    """HOST:PORT of the cluster that is meant, once it has answered.

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
    check_answers(address)
    return address


def is_on_loopback(address: str) -> bool:
    """Whether a cluster that has answered is on this machine's loopback interface alone.

    On Linux, Ray takes a loopback address for the network's, where such a cluster does not listen, and tries for
    minutes; it has to be told before it is imported.
    """
    host, _, port = address.rpartition(":")
    if not ip_address(socket.getaddrinfo(host.strip("[]"), None)[0][4][0]).is_loopback:
        return False
    try:
        with socket.create_connection((_network_address(), int(port)), timeout=SECONDS):
            return False
    except OSError:
        return True


def _network_address() -> str:
    """The address that this machine has on its network, as Ray finds it out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("8.8.8.8", 80))
        return str(asked.getsockname()[0])


def check_answers(address: str) -> None:
    """Waits a few seconds for an answer.

    Raises:
        OptionError: If there is none, or what answers is no Ray head.
    """
    host, _, port = address.rpartition(":")
    try:
        number = int(port)
    except ValueError:
        raise OptionError(f"--ray {address}: that is not HOST:PORT. Give what `ray start` printed.") from None
    try:
        with socket.create_connection((host.strip("[]"), number), timeout=SECONDS) as connection:
            reason = _fault_of(connection)
    except (OSError, OverflowError) as fault:
        reason = (getattr(fault, "strerror", None) or str(fault)).lower()
    if reason is not None:
        raise OptionError(_said(address, reason))


def _fault_of(connection: socket.socket) -> str | None:
    """Returns why what is connected cannot be a Ray head, None if it may be one."""
    if os.environ.get("RAY_USE_TLS", "0") == "1":
        return None
    try:
        first = connection.recv(4)
    except TimeoutError:
        return "timed out: what listens there is no Ray head"
    return None if first[3:] == _SETTINGS else "what answers is no Ray head"


def _said(address: str, reason: str) -> str:
    return (
        f"--ray {address}: no cluster there ({reason}). Start one by `ray start --head`, leave --ray out, or resume "
        "with --workers 0."
    )
