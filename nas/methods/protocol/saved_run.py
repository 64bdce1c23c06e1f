"""An earlier run whose trained weights are reused for scoring, by `--supernet RUN` or `nas rank`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nas.data import Source, open_data
from nas.errors import OptionError, RunError
from nas.latency.budgets import restore
from nas.methods.protocol.plan import MethodPlan, Plan
from nas.methods.protocol.ranking import RankingSettings
from nas.options import SearchOptions
from nas.run import RunRecord, read_run
from nas.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """A recorded run of a space.

    Attributes:
        path: The path as the user gave it, for messages.
    """

    path: str
    run: RunRecord
    options: SearchOptions

    @classmethod
    def open(cls, path: str | Path, space: SearchSpace, method: str) -> SavedRun:
        """Opens a run of a method, and holds this process to the latency models that its budgets were kept by.

        Args:
            space: The loaded space, which must be the run's.

        Raises:
            RunError: If it is not a run directory, or a run of another space or method.
            LatencyError: If one of its latency models is damaged.
        """
        run = read_run(path)
        if run.manifest.get("options", {}).get("space") is None:
            raise RunError(
                f"--supernet {path} was trained on the parts of its --parent, for that search alone. Leave it out."
            )
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
                f"--supernet {path} must be a run of --method {method}, but it is one of --method {its}. Give a "
                f"run of --method {method}, or leave out --supernet."
            )
        options = SearchOptions.from_dict(run.manifest["options"])
        restore(run.part("device_models"), str(path))
        return cls(path=str(path), run=run, options=options)

    def plan(self, kind: type[MethodPlan]) -> Plan:
        """Returns its plan.

        Raises:
            RunError: If another version wrote it.
        """
        return Plan.from_dict(self.run.manifest.get("plan", {}), kind, self.run.path)

    def source(self, data: str | None = None) -> Source:
        """Returns the source of its data, or of other data."""
        options = self.options
        return open_data(data or options.data, on_corrupt=options.on_corrupt)  # type: ignore[arg-type]

    def adapted(self, space: SearchSpace, *, resolution: int, channels: int, num_classes: int) -> SearchSpace:
        """Returns the space for its data, at the resolution at which its costs are counted, without presets."""
        plain = replace(space, presets=())
        return plain.adapted(resolution=resolution, channels=channels, num_classes=num_classes)


def check_run_given(settings: RankingSettings, method: str, trained: str) -> None:
    """Checks that a ranking names a run, for methods that score with a run's weights.

    Args:
        trained: What the method needs from the run, such as "a trained supernet".

    Raises:
        OptionError: If it names no run.
    """
    if settings.supernet is None:
        raise OptionError(
            f"--method {method} needs {trained}: give --supernet RUN, the directory of a search in this space by "
            f"--method {method}."
        )
