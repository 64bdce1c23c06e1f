"""Exports on real actors: the files that one process writes, byte for byte, in folders that appear as a whole."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import nas
from nas.errors import ExportError
from nas.executors import worker
from nas.export import Exporting, ExportJob
from nas.jobs.backend import Backend, InThisProcess
from nas.jobs.executor import Job, Result
from nas.options import SearchOptions
from tests.search.export_cases import CLASSES, FACTS, LEVELS, MEAN, STD, TRAINED, coatnet, convnext, perturbed

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here"), pytest.mark.timeout(900)]
OPTIONS = SearchOptions.of(space="tiny", workers=2)
FACTS_OF_RUN = {
    "trained_resolution": TRAINED,
    "mean": MEAN,
    "std": STD,
    "class_names": CLASSES,
    "levels": LEVELS,
    "onnx": True,
}


@pytest.fixture(scope="module", autouse=True)
def by_value(ray_here: None) -> None:
    """Workers cannot import this module."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def jobs() -> list[ExportJob]:
    found: list[ExportJob] = []
    for rank, architecture in enumerate((convnext(), coatnet()), start=1):
        network = perturbed(nas.build(architecture.at_resolution(TRAINED)))
        found.append(ExportJob.of(network, architecture, FACTS, name=str(rank), seed=0))
    return found


def export(backend: Backend, winners: Path, asked: list[ExportJob]) -> list[Result]:
    with closing(backend.exports(Exporting(facts=FACTS_OF_RUN, winners=winners), threads=1)) as executor:
        return list(executor.map(asked))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def dying(mark: Path) -> type[worker.SentExport]:
    """The first process that is asked for the first network ends without a word, and leaves a mark."""

    class DiesOnce(worker.SentExport):
        def run(self, job: Job) -> Result:
            if isinstance(job, ExportJob) and job.name == "1" and not mark.exists():
                mark.touch()
                os._exit(7)
            return super().run(job)

    return DiesOnce


def test_exports_on_workers_are_those_in_process_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.executors.ray import backend

    here, there, asked = tmp_path / "a" / "winners", tmp_path / "b" / "winners", jobs()
    alone = export(InThisProcess(), here, asked)
    mark = tmp_path / "mark"
    monkeypatch.setattr(backend, "SentExport", dying(mark))
    sent = export(backend.RayBackend(OPTIONS), there, asked)
    assert not there.exists(), "a worker may be where the run's folder is not"
    for job, result in zip(asked, sent, strict=True):
        result.value.appear_in(there / job.name)
    assert mark.exists()
    assert [len(result.retries) for result in sent] == [1, 0]
    assert content(there) == content(here)
    assert {"1/model.onnx", "1/card.md", "2/weights.safetensors"} <= set(content(there))
    assert [result.value.checks for result in sent] == [result.value.checks for result in alone]
    for job, result in zip(asked, alone, strict=True):
        result.value.appear_in(tmp_path / "nowhere" / job.name)
    assert not (tmp_path / "nowhere").exists(), "what is in its place is not written again"


def test_a_network_that_cannot_be_exported_ends_the_phase_with_its_reason(tmp_path: Path) -> None:
    from nas.executors.ray.backend import RayBackend

    job = jobs()[0]
    weights = {name: torch.full(value.shape, torch.nan).numpy() for name, value in job.weights.items()}
    for running in (InThisProcess(), RayBackend(OPTIONS)):
        with pytest.raises(ExportError, match="gives values that are not finite"):
            export(running, tmp_path / "winners", [replace(job, weights=weights)])
        assert not (tmp_path / "winners" / "1").exists()
