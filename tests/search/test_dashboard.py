"""`study.journal` in optuna-dashboard, where that is installed: its page and what it lists of the study.

The dashboard's application is called as a web server would call it, without opening a port.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.report import write_tables
from nas.run import read_run

from .report_events import make_run

dashboard = pytest.importorskip("optuna_dashboard")


def get(app: Any, path: str) -> tuple[str, bytes]:
    """The status and body of a GET request."""
    place, _, query = path.partition("?")
    environ: dict[str, Any] = {"PATH_INFO": place, "QUERY_STRING": query, "wsgi.input": BytesIO()}
    setup_testing_defaults(environ)
    statuses: list[str] = []
    body = app(environ, lambda status, headers, error=None: statuses.append(status))
    try:
        return statuses[0], b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()


def test_the_journal_opens_in_optuna_dashboard(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", trials=30, failures=2)
    write_tables(run)
    app = dashboard.wsgi(JournalStorage(JournalFileBackend(str(run / "study.journal"))))
    status, page = get(app, "/dashboard/")
    assert status.startswith("200")
    assert b"<html" in page.lower()
    status, body = get(app, "/api/studies")
    assert status.startswith("200")
    (study,) = json.loads(body)["study_summaries"]
    assert study["study_name"] == "a"
    assert [direction.lower() for direction in study["directions"]] == ["maximize", "minimize"]
    status, body = get(app, f"/api/studies/{study['study_id']}?after=0")
    assert status.startswith("200")
    found = json.loads(body)["trials"]
    trials = read_run(run).trials()
    assert [each["state"].lower()[:4] for each in found] == ["comp" if trial.complete else "fail" for trial in trials]
    assert [each["values"][0] for each in found if each.get("values")] == [t.score for t in trials if t.complete]
