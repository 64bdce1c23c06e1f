"""What reads records of earlier formats: their events, as plain JSON, become those of this version's format.

Format 1 is that of version 0.1. Since then events have other names, a search has a method with options and a plan of
its own where it had a scorer and a strategy beside all other options, and a run keeps its method's facts in one place.
Architectures are of format 2, and so have other digests.
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
    """The events of a record of format 1 as format 2 has them: one for each, in order; the given ones stay as they are.

    Args:
        events: Each with a text as its "event"; the first is `run_started`. Nothing else about them is relied on.

    Raises:
        ValueError, RecursionError: If an architecture or the space holds numbers that are not finite, or is nested
            deeper than any that can be read.
    """
    digests = _new_digests(events)
    return [_manifest(events[0]), *(_event(event, digests) for event in events[1:])]


def _event(old: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """Any event but the first.

    Args:
        digests: By an architecture's digest of format 1, that of format 2.
    """
    upgraded = _named({**old, "event": _KINDS.get(old["event"], old["event"])}, digests)
    if isinstance(upgraded.get("trial"), dict):
        upgraded["trial"] = _named(upgraded["trial"], digests)
    return upgraded


def _named(old: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """An event or trial whose architecture and digest are of format 2.

    Of networks that were only measured, the record has no more than the digest, which stays.
    """
    upgraded = dict(old)
    if _is_format_1(old.get("architecture")):
        upgraded["architecture"] = file_formats.upgrade(old["architecture"])
    if isinstance(old.get("digest"), str):
        upgraded["digest"] = digests.get(old["digest"], old["digest"])
    return upgraded


def _new_digests(events: list[dict[str, Any]]) -> dict[str, str]:
    """The digests of format 2 by those of format 1, of all architectures that the events hold."""
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
    """The first event."""
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
        # The shipped space of that name, or the file, is not the same in this format; what was kept counts.
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
            # Without trainings, measuring reference networks is a part of the search.
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
