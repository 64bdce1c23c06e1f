"""Upgrade of records of earlier formats: their events, as plain JSON, are converted to the current format.

Format 1 is that of version 0.1. Since then events have been renamed; a search has a method with its own options and
plan instead of a scorer and a strategy among all other options; and a run stores its method's facts in one place.
Architectures have format 2 and thus other digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from nas import file_formats
from nas.file_formats import digest_of, digest_of_format_1, rename_parameters

FORMAT = 2
"""The format that this version writes."""

_KINDS = {"borrowed": "supernet_reused"}
_METHOD_OPTIONS = {
    "calibrated": ("calibrations", "calibration_epochs"),
    "supernet": ("epochs", "strategy", "supernet"),
    "blockwise": ("epochs", "teacher"),
}
_LEFT_OPTIONS = {"aim", "scorer", "strategy", "epochs", "supernet", "calibrations", "calibration_epochs", "teacher"}
_LEFT_PLAN = {
    *("strategy", "epochs", "watch_every", "recalibration_images", "validation_images", "floor"),
    *("blocks", "calibration", "teacher"),
}


def upgrade(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Converts the events of format 1 to format 2, one by one and in order; does not change the given ones.

    Args:
        events: Each with a string as its "event"; the first is `run_started`. No other field is assumed to exist.

    Raises:
        ValueError, RecursionError: If an architecture or the space holds numbers that are not finite, or is nested
            deeper than any that can be read.
    """
    digests = _new_digests(events)
    return [_manifest(events[0]), *(_event(event, digests) for event in events[1:])]


def _event(old: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """Converts any event but the first.

    Args:
        digests: The digests of format 2 by those of format 1.
    """
    upgraded = _named({**old, "event": _KINDS.get(old["event"], old["event"])}, digests)
    if isinstance(upgraded.get("trial"), dict):
        upgraded["trial"] = _named(upgraded["trial"], digests)
    return upgraded


def _named(old: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """Converts the architecture and the digest of an event or trial to format 2.

    For networks that were only measured, the record holds just the digest of format 1, which is kept.
    """
    upgraded = dict(old)
    if _is_format_1(old.get("architecture")):
        upgraded["architecture"] = file_formats.upgrade(old["architecture"])
    if isinstance(old.get("digest"), str):
        upgraded["digest"] = digests.get(old["digest"], old["digest"])
    return upgraded


def _new_digests(events: list[dict[str, Any]]) -> dict[str, str]:
    """Maps the digests of format 1 to those of format 2, for all architectures in the events."""
    found: dict[str, str] = {}
    for event in events[1:]:
        for holder in (event, _mapping(event.get("trial"))):
            plain = _mapping(holder.get("architecture"))
            if _is_format_1(plain):
                found[digest_of_format_1(plain)] = digest_of(file_formats.upgrade(plain))
    return found


def _is_format_1(plain: object) -> bool:
    return _mapping(plain).get("format") == 1


def _manifest(plain: dict[str, Any]) -> dict[str, Any]:
    """Converts the first event."""
    options, plan = _mapping(plain.get("options")), _mapping(plain.get("plan"))
    scorer = options.get("scorer", "supernet")
    method = "supernet" if scorer == "supernet-loss" else str(scorer)
    upgraded = {name: value for name, value in plain.items() if name not in ("trained", "supernet")}
    upgraded["format"] = FORMAT
    if isinstance(plain.get("presets"), list):
        presets = cast("list[Any]", plain["presets"])
        upgraded["presets"] = [file_formats.upgrade(each) if _is_format_1(each) else each for each in presets]
    space = _mapping(plain.get("space"))
    if rename_parameters(space) != space:
        upgraded |= {"space": rename_parameters(space), "space_digest": digest_of(rename_parameters(space))}
        # The shipped space of that name, or the file, differs in this format; the recorded space is the one used.
        upgraded["space_source"] = None
    if options:
        upgraded["options"] = _options(options, method, by_loss=scorer == "supernet-loss")
    if plan:
        upgraded["plan"] = _plan(plan, method)
    if method == "supernet" and plain.get("trained"):
        upgraded["method"] = _supernet_facts(plain)
    return upgraded


def _options(old: Mapping[str, Any], method: str, *, by_loss: bool) -> dict[str, Any]:
    own = {name: old[name] for name in _METHOD_OPTIONS.get(method, ()) if old.get(name) is not None}
    if by_loss:
        own["scorer"] = "loss"
    if method == "blockwise":
        own["strategy"] = _block_strategy(old.get("strategy"))
    upgraded = {name: value for name, value in old.items() if name not in _LEFT_OPTIONS}
    if "aim" in old:
        upgraded["min_share"] = old["aim"]
    return {**upgraded, "method": method, "method_options": own}


def _plan(old: Mapping[str, Any], method: str) -> dict[str, Any]:
    upgraded = {name: value for name, value in old.items() if name not in _LEFT_PLAN}
    calibration, blocks = _mapping(old.get("calibration")), _mapping(old.get("blocks"))
    images = {name: old.get(name) for name in ("recalibration_images", "validation_images")}
    if method == "supernet":
        own = {
            **{name: old.get(name) for name in ("epochs", "strategy", "watch_every")},
            **images,
            "train_min_share": old.get("floor"),
            "shards": 1,
        }
    elif method == "blockwise":
        own = {
            "epochs": old.get("epochs"),
            "strategy": _block_strategy(old.get("strategy")),
            "paths": blocks.get("paths"),
            "images": blocks.get("images"),
            "hidden": blocks.get("hidden", 0),
            "features": blocks.get("features", 0),
            **images,
            "teacher": _mapping(old.get("teacher")),
        }
    else:
        own = dict(calibration)
        seconds = dict(_mapping(old.get("seconds")))
        if method != "calibrated" and "calibration" in seconds:
            # Without trainings, measuring reference networks is part of the search phase.
            seconds["search"] = seconds.get("search", 0.0) + seconds.pop("calibration")
            upgraded["seconds"] = seconds
    return {**upgraded, "method": own}


def _supernet_facts(plain: Mapping[str, Any]) -> dict[str, Any]:
    coverage = dict(_mapping(plain.get("trained")))
    if "floor" in coverage:
        coverage["train_min_share"] = coverage.pop("floor")
    reused = dict(_mapping(plain.get("supernet")))
    if "run" in reused:
        reused["source_run"] = reused.pop("run")
    return {"coverage": coverage, "reused": reused or None}


def _block_strategy(old: object) -> str:
    return "sequential" if old == "blockwise-sequential" else "side-by-side"


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
