"""Opening of the source that `--data` names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

from nas.data.dataset import OnCorrupt, Source
from nas.data.digits import open_digits
from nas.data.folder import open_folder
from nas.data.hub import open_hub
from nas.data.idx import find_idx_files, open_idx
from nas.data.npz import open_npz
from nas.errors import DataError, OptionError
from nas.registry import closest, unknown

FORMS = "'digits', a folder of class folders, an .npz file, a folder of IDX files or 'hf:NAME'"


def open_data(spec: str | os.PathLike[str], *, on_corrupt: OnCorrupt = "skip", to_train: bool = True) -> Source:
    """Finds a data set and reads its metadata, but not its images.

    Args:
        spec: `digits`; a folder in ImageFolder layout (class folders, or train/ with optional validation/ and
            test/); an .npz with `x_train`, `y_train` and optional `x_test`, `y_test`, `classes`; a folder of
            IDX files; `hf:NAME`. For a folder named digits, write `./digits`.
        on_corrupt: Whether an image that cannot be read is left out and listed in `Dataset.skipped`, or an
            error.
        to_train: Whether it has to be suitable for training: one class, or classes of one image, can be evaluated.

    Raises:
        DataError: If there is no such data set, or it is unsuitable.
        OptionError: If `on_corrupt` is neither.
    """
    source = _opened(spec, on_corrupt)
    if to_train:
        source.check_trainable()
    return source


def _opened(spec: str | os.PathLike[str], on_corrupt: OnCorrupt) -> Source:
    if on_corrupt not in get_args(OnCorrupt):
        raise OptionError(unknown("value of --on-corrupt", on_corrupt, get_args(OnCorrupt)))
    text = os.fspath(spec)
    if text == "digits":
        return open_digits(on_corrupt=on_corrupt)
    scheme, _, rest = text.partition(":")
    if scheme == "hf":
        if not rest:
            raise DataError("'hf:' names no data set: write 'hf:NAME', such as 'hf:cifar10'.")
        return open_hub(rest, on_corrupt=on_corrupt)
    if rest.startswith("//"):
        raise DataError(f"--data must be a local path or hf:NAME, not the URL {text!r}: download it and give its path.")
    path = Path(os.path.expanduser(text))
    if not text or not os.path.exists(path):
        near = closest(os.path.basename(text), ["digits"])
        hint = " did you mean 'digits'?" if near else ""
        raise DataError(f"There is no data at {text[:200]!r}:{hint} Give {FORMS}.")
    folder = path.is_dir()
    if not os.access(path, os.R_OK | os.X_OK if folder else os.R_OK):
        raise DataError(f"{path} cannot be read: check its permissions.")
    if path.is_file():
        return open_npz(path, on_corrupt=on_corrupt)
    if not folder:
        raise DataError(f"{path} is a pipe or device: give {FORMS}.")
    idx_files = find_idx_files(path)
    if idx_files:
        return open_idx(path, idx_files, on_corrupt=on_corrupt)
    return open_folder(path, on_corrupt=on_corrupt)
