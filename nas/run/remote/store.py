"""Objects at a URL: written, read, listed and deleted whole. Only this file knows fsspec, and imports it when used."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas.errors import RunError

_LOCAL = ("file", "local", "memory")
# A storage that does not answer is asked again by the next upload, which comes soon enough.
_S3 = {
    "skip_instance_cache": True,
    "use_listings_cache": False,
    "config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2}},
}
_OPTIONS: dict[str, dict[str, Any]] = {"s3": _S3, "s3a": _S3, "file": {"auto_mkdir": True}}
_EXTRA = "needs the extra 's3': pip install 'hybrid-nas[s3]'."


class ObjectStore:
    """The objects below a URL, by name, such as "winners/1/card.md".

    Attributes:
        answers: Whether it did what it was asked last.

    Raises:
        RunError: Here and in all methods, if the storage refuses; its line has the URL, the reason and a remedy.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.answers = True
        self._files, self._root = _opened(self.url)

    def read(self, name: str) -> bytes | None:
        """Returns an object's content, None if there is no such object."""
        with self._explained("read"):
            try:
                return bytes(self._files.cat_file(self._key(name)))
            except FileNotFoundError as fault:
                if "bucket does not exist" in str(fault):
                    raise
                return None

    def write(self, name: str, content: bytes) -> None:
        """Writes an object; it is there whole, or as it was before."""
        with self._explained("write to"):
            self._files.pipe_file(self._key(name), content)

    def upload(self, name: str, path: Path) -> None:
        """Writes an object from a file."""
        with self._explained("write to"):
            self._files.put_file(str(path), self._key(name))

    def download(self, name: str, path: Path) -> bool:
        """Writes an object to a file; returns whether there is such an object."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained("read"):
            try:
                self._files.get_file(self._key(name), str(path))
            except FileNotFoundError:
                return False
        return True

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects, if they are there."""
        with self._explained("delete in"):
            for name in names:
                with suppress(FileNotFoundError):
                    self._files.rm_file(self._key(name))

    def names(self) -> list[str]:
        """Returns the names of all objects."""
        with self._explained("list"):
            self._files.invalidate_cache()
            found: list[str] = self._files.find(self._root)
        below = f"{self._root}/"
        return sorted(key.removeprefix(below) for key in found if key.startswith(below))

    def modified(self, name: str) -> float:
        """Returns when an object was written, by the storage's own clock, in seconds since 1970."""
        with self._explained("read"):
            self._files.invalidate_cache()
            return float(self._files.modified(self._key(name)).timestamp())

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _explained(self, act: str) -> Generator[None, None, None]:
        """Turns whatever a storage raises into one line."""
        self.answers = False
        try:
            yield
        except Exception as fault:  # each storage has errors of its own, and none of them is to end a search
            raise RunError(f"Cannot {act} {self.url}: {_reason(fault)}. {_remedy(fault)}") from fault
        self.answers = True


def _opened(url: str) -> tuple[Any, str]:
    """Returns the file system of a URL, and the path of its root there.

    Raises:
        RunError: If there is none, its package is not installed, or the URL names no folder.
    """
    protocol, _, path = url.partition("://")
    if protocol not in _LOCAL and len([part for part in path.split("/") if part]) < 2:
        raise RunError(
            f"{url} names no folder for the run: give a bucket and a folder, such as {protocol}://bucket/run."
        )
    if find_spec("fsspec") is None:
        raise RunError(f"{url} {_EXTRA}")
    fsspec: Any = import_module("fsspec")
    if protocol not in fsspec.available_protocols():
        raise RunError(f"{url}: no storage is called {protocol}://. Give a folder, or a URL such as s3://bucket/run.")
    try:
        files, root = fsspec.url_to_fs(url, **_OPTIONS.get(protocol, {}))
    except ImportError as fault:
        needs = _EXTRA if protocol in ("s3", "s3a") else f"needs a package: {_reason(fault)}."
        raise RunError(f"{url} {needs}") from None
    except Exception as fault:
        raise RunError(f"Cannot open {url}: {_reason(fault)}. {_remedy(fault)}") from fault
    return files, str(root).rstrip("/")


def _reason(fault: BaseException) -> str:
    said = " ".join(str(fault).split())[:160].rstrip(". ")
    return said or type(fault).__name__


def _remedy(fault: BaseException) -> str:
    if isinstance(fault, FileNotFoundError):
        return "Create the bucket, or give another URL."
    if isinstance(fault, PermissionError) or "Credentials" in type(fault).__name__:
        return (
            "Give credentials that may read, write and list there: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "~/.aws/credentials."
        )
    return "Check the network and the address (AWS_ENDPOINT_URL names a storage other than Amazon's)."
