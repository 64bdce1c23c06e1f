"""An earlier run whose trained weights score outside of its own search: for `--supernet RUN` and for `nas rank`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nas.data import Source, open_data
from nas.errors import RunError
from nas.methods.protocol.plan import MethodPlan, Plan
from nas.options import SearchOptions
from nas.run import RunRecord, read_run
from nas.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """A run of one space, as it is on record.

    Attributes:
        path: As it was given, for messages.
    """

    path: str
    run: RunRecord
    options: SearchOptions

    @classmethod
    def open(cls, path: str | Path, space: SearchSpace, method: str) -> SavedRun:
        """Opens a run of a method.

        Args:
            space: As it was loaded; the run's has to be the same.

        Raises:
            RunError: If it is not a run directory, or a run of another space or method.
        """
        run = read_run(path)
        digest = run.manifest.get("space_digest")
        if digest != space.digest:
            name = run.manifest.get("options", {}).get("space", "?")
            raise RunError(
                f"--supernet {path}: its space is {name} ({digest}), not {space.name} ({space.digest}). "
                "Give the space that it was trained for, or leave out --supernet."
            )
        its = run.manifest.get("options", {}).get("method")
        if its != method:
            raise RunError(
                f"--supernet {path}: it scored by --method {its}, and weights of --method {method} are wanted. Give a "
                f"run of --method {method}, or leave out --supernet."
            )
        options = SearchOptions.from_dict(run.manifest["options"])
        return cls(path=str(path), run=run, options=options)

    def plan(self, kind: type[MethodPlan]) -> Plan:
        """Its plan.

        Raises:
            RunError: If another version wrote it.
        """
        return Plan.from_dict(self.run.manifest.get("plan", {}), kind, self.run.path)

    def source(self, data: str | None = None) -> Source:
        """Its data, unread, or others."""
        options = self.options
        return open_data(data or options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]

    def adapted(self, space: SearchSpace, *, resolution: int, channels: int, num_classes: int) -> SearchSpace:
        """The space for its data, at the resolution that its budgets are counted at, without presets."""
        plain = replace(space, presets=())
        return plain.adapted(resolution=resolution, channels=channels, num_classes=num_classes)
