"""The folder of an exported network: how it appears all at once, and how it is read again."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from nas.costs import cost, layout
from nas.errors import ExportError, NasError
from nas.export.exported_model import CardFacts, ExportedModel
from nas.networks.loading import is_digest_of, load_architecture
from nas.networks.network import Network, build
from nas.networks.sealed_file import check_seal, write_sealed
from nas.run.files import (
    LOCK,
    atomic_write,
    is_leftover,
    make_folder,
    remove_leftovers,
    replacing,
    unique,
    write_error,
    writing_into,
)
from nas.strict_yaml import dump_yaml
from nas.version import __version__

FILES = {
    "config": "architecture.yaml",
    "code": "model.py",
    "weights": "weights.safetensors",
    "onnx": "model.onnx",
}
CARD = "card.md"
PREPROCESSING = "preprocessing.json"


@contextmanager
def appearing(folder: Path, files: Iterable[str]) -> Iterator[Path]:
    """Gives a temporary folder that becomes `folder` when the block ends well, and vanishes when it does not.

    Args:
        files: Paths in `folder` of the files that an earlier export may have left, beside those of every export.

    Raises:
        ExportError: If `folder` exists and holds anything that no export wrote.
        RunError: If the disk refuses.
    """
    folder = folder.absolute()
    _refuse_foreign(folder, files)
    remove_leftovers(folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"))
    make_folder(folder.parent)
    temporary = folder.with_name(f".{folder.name}.{unique()}.tmp")
    with writing_into(folder.parent):
        try:
            temporary.mkdir()
            yield temporary
            _move(temporary, folder)
        except OSError as fault:
            raise write_error(folder, fault) from fault
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_config(folder: Path, product: ExportedModel) -> None:
    """Writes `architecture.yaml`, with a section `about` for people."""
    counted = cost(product.architecture)
    about: dict[str, Any] = {
        "name": product.facts.title,
        "layout": layout(product.architecture),
        "macs": counted.macs,
        "params": counted.params,
        "trained_resolution": product.trained_resolution,
    }
    if product.facts.test_accuracy is not None:
        about["test_accuracy"] = float(product.facts.test_accuracy)
    plain = product.architecture.to_dict()
    atomic_write(folder / FILES["config"], dump_yaml({"format": plain.pop("format"), "about": about, **plain}))


def write_weights(folder: Path, network: Network, product: ExportedModel) -> None:
    """Writes `weights.safetensors`; its metadata holds the rest of the product, each value as JSON, and its digest."""
    metadata = {
        "format": "pt",
        "hybrid_nas": __version__,
        "architecture": product.architecture.digest,
        "trained_resolution": json.dumps(product.trained_resolution),
        "mean": json.dumps(product.mean),
        "std": json.dumps(product.std),
        "class_names": json.dumps(product.class_names, ensure_ascii=False),
        "levels": json.dumps(product.levels),
        "card": json.dumps(asdict(product.facts), ensure_ascii=False),
    }
    with replacing(folder / FILES["weights"]) as path:
        write_sealed(path, network.state_dict(), metadata)


def read_exported(folder: str | Path) -> tuple[ExportedModel, Network]:
    """What an earlier export wrote, from its `architecture.yaml` and `weights.safetensors`.

    Returns:
        The product, and the network with its weights, for the resolution they fit, in eval mode.

    Raises:
        ExportError: If one of the files is missing, damaged or not the other's.
    """
    config, weights = (Path(folder) / FILES[name] for name in ("config", "weights"))
    try:
        architecture = load_architecture(config)
        check_seal(weights.resolve())  # as data version control keeps files
        with safe_open(weights, "pt") as file:
            found = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not is_digest_of(found["architecture"], architecture, config):
            raise ExportError(f"{weights} holds the weights of another network than {config.name}.")
        read = {name: json.loads(found[name]) for name in ("trained_resolution", "mean", "std", "class_names")}
        card = json.loads(found["card"])
        facts: dict[str, Any] = {key: _frozen(value) for key, value in card.items()}
        product = ExportedModel(
            architecture=architecture,
            trained_resolution=read["trained_resolution"],
            mean=tuple(read["mean"]),
            std=tuple(read["std"]),
            class_names=tuple(read["class_names"]),
            levels=_frozen(json.loads(found.get("levels", "null"))),  # earlier versions did not keep them
            facts=CardFacts(**facts),
        )
        network = build(product.trained).eval()
        network.load_state_dict(state)
    except NasError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise ExportError(
            f"{folder} holds no network that was exported whole: {reason.rstrip('.')}. Copy it again, or delete "
            "it and let nas-search --resume, or the same nas train, write it again."
        ) from fault
    return product, network


def _refuse_foreign(folder: Path, files: Iterable[str]) -> None:
    """Only what an export wrote may be replaced."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ExportError(f"{folder} is a file: choose another folder.")
    own = {Path(name).parts[0] for name in (*files, PREPROCESSING, CARD, "__pycache__")}
    free = {path.name for path in folder.iterdir() if is_leftover(path.name) and path.name != LOCK}
    foreign = sorted({path.name for path in folder.iterdir()} - own - free)
    if foreign:
        raise ExportError(f"{folder} holds {foreign[0]!r}, which is no part of an export: choose another folder.")


def _move(temporary: Path, folder: Path) -> None:
    """Puts the finished folder in its place; an earlier export stays if that fails."""
    _sync(temporary)
    old = folder.with_name(f".{folder.name}.{unique()}.old.tmp")
    if folder.exists():
        folder.rename(old)
    try:
        temporary.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some file systems cannot sync a folder; the rename is then as durable as they make it.
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _frozen(value: Any) -> Any:
    """Lists of JSON as tuples, at any depth."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
