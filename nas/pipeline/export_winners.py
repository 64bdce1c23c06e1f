"""The last phase: the winners among the finalists, written as folders that need nothing of this program."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from nas.data.dataset import describe_data
from nas.export import CardFacts, export_winner
from nas.methods.protocol.context import Context
from nas.pipeline.finalists import Finalist, winners
from nas.run.events import WinnerExported


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A network that the search exported; `path` holds its files."""

    rank: int
    path: str
    digest: str
    macs: int
    params: int
    score: float
    test_accuracy: float


def export_winners(context: Context, finalists: Sequence[Finalist]) -> list[Winner]:
    """Exports the front of the finalists, best first; a winner that is on record and on disk is left as it is."""
    run, data, progress = context.run, context.data, context.progress
    recorded = {event.rank for event in run.events(WinnerExported)}
    found = []
    front = winners(finalists)
    progress.start("export", len(front), "networks")
    for rank, finalist in enumerate(front, start=1):
        trial, folder = finalist.trial, run.path / "winners" / str(rank)
        if rank not in recorded or not folder.exists():
            checks = export_winner(
                folder,
                finalist.network,
                trial.architecture,
                trained_resolution=context.plan.train_resolution,
                mean=data.mean,
                std=data.std,
                class_names=data.info.class_names,
                card=_card(context, finalist, rank),
                onnx=context.options.onnx is not False,
            )
            run.append(
                WinnerExported(
                    rank=rank,
                    # Relative to the run, which may be moved or looked at from elsewhere.
                    path=f"winners/{rank}",
                    digest=trial.architecture.digest,
                    checks=checks,
                    macs=trial.cost.macs,
                    params=trial.cost.params,
                    score=float(trial.score or 0.0),
                    test_accuracy=finalist.test_accuracy,
                )
            )
        found.append(
            Winner(
                rank=rank,
                path=str(folder),
                digest=trial.architecture.digest,
                macs=trial.cost.macs,
                params=trial.cost.params,
                score=float(trial.score or 0.0),
                test_accuracy=finalist.test_accuracy,
            )
        )
        progress.advance()
    progress.finish()
    return found


def _card(context: Context, finalist: Finalist, rank: int) -> CardFacts:
    space, data, options = context.space, context.data, context.options
    budgets = tuple(map(str, context.budgets))
    return CardFacts(
        title=f"Winner {rank} of {space.name} on {data.info.name}",
        data=describe_data(data),
        space=space.name,
        budgets=budgets,
        epochs=context.plan.finalist_epochs,
        seed=options.seed,
        validation_accuracy=finalist.validation_accuracy,
        test_accuracy=finalist.test_accuracy,
        test_count=len(data.test),
        command=shlex.join(options.command(budgets=budgets)),
        data_option=options.data,
    )
