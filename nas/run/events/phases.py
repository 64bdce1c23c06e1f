"""Events of a run and its phases."""

from __future__ import annotations

from nas.run.events.base import Count, Event, Number, Plain
from nas.run.upgrade import FORMAT


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """First event of every run: its manifest, recorded by `Run.create`. Undeclared fields are accepted.

    Attributes:
        format: Format version of the record.
        options, plan: The options given, and the plan made from them for this machine and data.
        space, space_digest, space_source: The search space, its digest, and the name or file it was loaded from.
        presets: The named architectures of the space.
        cautions: Sentences on the limits of the run's results.
        portfolio: Architectures that are finalists whatever their scores, by what chose them.
        rivals: Networks outside the search that are trained like its finalists, by a name for each.
        method: The search method's own part of the manifest, `SearchMethod.facts`.
        disk_bytes: Upper bound of what each phase writes.
        workers: Where jobs run.
    """

    format: Count = FORMAT
    options: Plain = {}
    plan: Plain = {}
    versions: Plain = {}
    seed: Count | None = None
    budgets: list[str] = []
    space: Plain = {}
    space_digest: str | None = None
    space_source: str | None = None
    presets: list[Plain] = []
    cautions: list[str] = []
    portfolio: Plain = {}
    rivals: Plain = {}
    data: Plain = {}
    method: Plain = {}
    disk_bytes: Plain = {}
    workers: Plain = {}


class RunResumed(Event, frozen=True, kw_only=True, tag="resumed"):
    """The run goes on after a stop; recorded by `record_resumed`.

    Attributes:
        seconds: Known duration of the previous session.
        phase: The phase that was stopped, None between phases; `phase_seconds` is the time spent on it.
    """

    seconds: Number
    phase: str | None
    phase_seconds: Number


class PhaseStarted(Event, frozen=True, kw_only=True, tag="phase_started"):
    """A phase begins, or begins again after a stop; recorded by `do_phase`."""

    phase: str


class PhaseFinished(Event, frozen=True, kw_only=True, tag="phase_finished"):
    """A phase is done; recorded by `do_phase` with the seconds of all sessions."""

    phase: str
    seconds: Number = 0.0


class PhaseInterrupted(Event, frozen=True, kw_only=True, tag="interrupted"):
    """A signal ended the work in a phase; recorded by `do_phase`."""

    phase: str


class RunFinished(Event, frozen=True, kw_only=True, tag="run_finished"):
    """All phases are done; recorded by the pipeline with the seconds of all sessions."""

    seconds: Number = 0.0
