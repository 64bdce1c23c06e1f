"""What the pages' commands reach beside files: a Ray cluster and a storage that speaks S3, both on loopback."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory

import pytest

from .documented import Command
from .ray_head import Head

_S3 = "s3://bucket/"
_CLUSTER = "--ray auto"


class Services:
    """The variables by which commands find what was started for them.

    Attributes:
        everywhere: Variables of every command of the page.
        cluster: Where the cluster is, for the commands that join it: others would join it too if they knew.
    """

    def __init__(self) -> None:
        self.everywhere: dict[str, str] = {}
        self.cluster: dict[str, str] = {}

    def variables(self, line: str) -> dict[str, str]:
        """Returns the variables of a command."""
        return {**self.everywhere, **(self.cluster if _CLUSTER in line else {})}


@contextmanager
def started_for(commands: list[Command]) -> Generator[Services]:
    """Starts what the commands reach, for as long as the block takes."""
    text = "\n".join(command.line for command in commands)
    found = Services()
    with ExitStack() as stack:
        if _CLUSTER in text:
            # The names of Ray's sockets may have 107 characters.
            place = TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True)
            token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
            head = _head(stack.enter_context(place), token)
            stack.callback(head.stop)
            found.everywhere |= token
            found.cluster = {"RAY_ADDRESS": head.address}
        if _S3 in text:
            moto = pytest.importorskip("moto.server", reason="needs the extra 'test' (moto's server)")
            logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would write a line per request
            server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            stack.callback(server.stop)
            host, port = server.get_host_and_port()
            url = f"http://{host}:{port}"
            key = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
            found.everywhere |= {"AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true", **key}
            _make_bucket(url)
        yield found


def _head(folder: str, token: dict[str, str]) -> Head:
    """Returns a head that stays: Ray ends one whose agents take more than 15 seconds to start, as on a busy machine."""
    for _ in range(5):
        head = Head(folder, token, cpus=2)
        end = time.monotonic() + 20
        while head.answers() and time.monotonic() < end:
            time.sleep(1)
        if head.answers():
            return head
        head.stop()
    raise AssertionError("no Ray head stayed for 20 seconds: the machine is too busy")


def _make_bucket(url: str) -> None:
    s3fs = pytest.importorskip("s3fs", reason="needs the extra 's3'")
    files = s3fs.S3FileSystem(
        endpoint_url=url, key="test", secret="test", skip_instance_cache=True, use_listings_cache=False
    )
    files.mkdir(_S3.removeprefix("s3://").rstrip("/"))
