"""The settings and versions of a run, so that it can be reproduced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.formats import ABSENT, count, duration, listing
from nas.methods.protocol.report import Table
from nas.options import flag
from nas.report.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The settings and versions of a run.

    Attributes:
        resolutions: A sentence on image sizes.
        bars: The phases that ended: name, time, and share of the longest.
        times: Pairs of a phase or another event of the run, and its time.
        versions: Pairs of a name and a value: seed, space and versions.
        options: Each option as given and as used.
    """

    resolutions: str
    bars: list[tuple[str, str, float]]
    times: list[tuple[str, str]]
    versions: list[tuple[str, object]]
    options: Table


def provenance(summary: Summary) -> Provenance:
    """Returns the settings, times and versions of a run."""
    manifest = summary.record.manifest
    return Provenance(
        resolutions=_resolutions(summary),
        bars=_bars(summary),
        times=_times(summary),
        versions=[
            ("Seed", summary.setting("seed")),
            ("Search space", f"{summary.options.get('space', '?')}, digest {manifest.get('space_digest', '?')}"),
            *manifest.get("versions", {}).items(),
        ],
        options=Table(
            headers=("Option", "Given", "Used"),
            rows=[_option(summary, name) for name in dict.fromkeys([*summary.options, *summary.plan])],
        ),
    )


def _resolutions(summary: Summary) -> str:
    """Returns a sentence on the image sizes of training and of counting costs."""
    counted = summary.setting("resolution")
    if counted is None and summary.trials:
        counted = summary.trials[0].architecture.input.resolution
    measured = next((c.resolution for c in summary.candidates if c.resolution), None)
    measured = measured or summary.setting("train_resolution")
    if counted is None and measured is None:
        return "The image sizes of training and of counting costs are not recorded yet."
    if measured is None:
        return f"Costs are counted on images of {counted} × {counted} pixels."
    if counted is None or counted == measured:
        return f"Accuracy is measured, and costs are counted, on images of {measured} × {measured} pixels."
    return (
        f"Accuracy is measured on images of {measured} × {measured} pixels, but the budget counts the cost on "
        f"images of {counted} × {counted}. This run does not measure the accuracy at {counted} pixels."
    )


def _bars(summary: Summary) -> list[tuple[str, str, float]]:
    known = [(phase.name, phase.seconds) for phase in summary.phases if phase.finished and phase.seconds is not None]
    longest = max((seconds for _, seconds in known), default=0.0)
    return [(name, duration(seconds), seconds / longest) for name, seconds in known] if longest else []


def _times(summary: Summary) -> list[tuple[str, str]]:
    done, times = {phase.name: phase for phase in summary.phases}, summary.times
    rows: list[tuple[str, str]] = []
    for name in dict.fromkeys([*summary.phase_names, *done]):
        phase = done.get(name)
        if phase is None:
            rows.append((name, "not begun"))
        elif not phase.finished:
            rows.append((name, "begun, not finished"))
    if summary.finished:
        rows.append(("in all", duration(times.seconds)))
    if times.interruptions:
        places = listing(dict.fromkeys(times.interruptions))
        rows.append(("interrupted", f"{count(len(times.interruptions), 'time')}, in {places}"))
    if times.resumptions:
        rows.append(("resumed", count(times.resumptions, "time")))
    return rows


def _option(summary: Summary, name: str) -> tuple[str, str, str]:
    used = _shown(summary.setting(name))
    if name not in summary.options:
        return name, ABSENT, used
    return flag(name), _shown(summary.options[name]), used


def _shown(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or ABSENT
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items()) or ABSENT
    return str(value)
