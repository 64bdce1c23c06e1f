from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from nas.errors import RunError
from nas.report import rebuild, summary, tables, tally, trials_frame, write_tables
from nas.run import read_run

from .report_events import make_run


def load_study(run: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(run / "study.journal")))
    return optuna.load_study(study_name=run.name, storage=storage)


def test_the_csv_has_one_row_per_trial_and_reads_back_to_the_same_figures(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="search", trials=30, failures=2)
    assert write_tables(run) == [run / "trials.csv", run / "study.journal"]
    frame = pd.read_csv(run / "trials.csv")
    trials = read_run(run).trials()
    assert list(frame.number) == [trial.number for trial in trials]
    assert list(frame.digest) == [trial.architecture.digest for trial in trials]
    assert list(frame.macs) == [trial.cost.macs for trial in trials]
    assert list(frame.score[2:]) == [trial.score for trial in trials[2:]], "floats are written exactly"
    assert list(frame.status) == ["failed"] * 2 + ["complete"] * 8
    assert frame.score[:2].isna().all()
    assert frame.error[0] == "RuntimeError: out of memory on cpu"
    assert frame.latency_s.isna().all()
    first = trials[0].architecture
    assert frame.depths[0] == "-".join(str(len(stage.layers)) for stage in first.stages)
    assert set(frame.columns) >= {
        "status",
        "params",
        "latency_s",
        "seconds",
        "seed",
        "layout",
        "origin",
        "batch",
    }


def test_of_many_trials_all_are_in_the_csv_and_some_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", trials=60, failures=3)
    write_tables(run)
    whole = (run / "trials.csv").read_bytes()
    monkeypatch.setattr(tables, "_AT_A_TIME", 7)
    for module in (tally, summary):
        monkeypatch.setattr(module, "MOST_TRIALS", 20)
    rebuild(run)
    assert (run / "trials.csv").read_bytes() == whole
    shown = [trial.user_attrs["digest"] for trial in load_study(run).trials]
    assert len(shown) == 20
    assert shown == [trial.architecture.digest for trial in summary.summarise(read_run(run)).trials]


def test_a_run_without_trials_gives_a_header_and_an_empty_study(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="created")
    write_tables(run)
    assert len((run / "trials.csv").read_text().splitlines()) == 1
    assert trials_frame(read_run(run)).empty
    assert load_study(run).trials == []


def test_the_journal_holds_the_same_trials_for_optuna(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="search", trials=30, failures=2)
    write_tables(run)
    study, trials = load_study(run), read_run(run).trials()
    assert study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert study.metric_names == ["score", "macs"]
    assert [t.state for t in study.trials] == [TrialState.FAIL] * 2 + [TrialState.COMPLETE] * 8
    assert [t.values for t in study.trials[2:]] == [[t.score, t.cost.macs] for t in trials[2:]]
    one, same = study.trials[5], trials[5]
    assert one.params["layout"] == same.layout
    assert one.params["depth_2"] == len(same.architecture.stages[1].layers)
    assert one.params["width_4"] == same.architecture.stages[3].layers[0].branches[0].mixer["width"]
    assert one.user_attrs["digest"] == same.architecture.digest
    assert one.duration is not None
    assert one.duration.total_seconds() == pytest.approx(same.seconds, abs=1e-5)
    assert {t.number for t in study.best_trials} <= {t.number for t in trials if t.complete}


def test_stages_may_differ_in_number_between_trials(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="search", trials=30, layouts=("CA", "CCAA", "C"))
    write_tables(run)
    numbers = {trial.params["layout"]: len(trial.params) for trial in load_study(run).trials}
    assert numbers == {"C": 3, "CA": 5, "CCAA": 9}


def test_tables_are_made_anew_and_leave_nothing_else_behind(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="search", trials=30)
    before = {path.name for path in run.iterdir()}
    (run / "study.journal").write_text('{"torn')
    (run / "trials.csv").write_text("old")
    write_tables(run)
    write_tables(run)
    assert len(load_study(run).trials) == 10
    assert {path.name for path in run.iterdir()} == before | {"study.journal", "trials.csv"}


def test_optuna_is_as_talkative_as_before(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="created")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        write_tables(run)
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)


def test_tables_of_a_folder_that_is_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        write_tables(tmp_path)


@pytest.mark.parametrize(
    ("start", "shown"),
    [("=", "'="), ("+", "'+"), ("-", "'-"), ("@", "'@"), ("\t=", r"\t="), ("\r=", r"\r="), ("\udcff", r"\udcff")],
)
def test_no_cell_of_the_csv_is_a_formula_or_more_than_a_cell(tmp_path: Path, start: str, shown: str) -> None:
    bad = start + "cmd|' /C calc'!A0"
    run = make_run(tmp_path / "run", until="search", trials=4, failures=1, error=bad)
    write_tables(run)
    frame = pd.read_csv(run / "trials.csv")
    assert frame.error[0] == shown + "cmd|' /C calc'!A0"
    assert list(frame.score[1:]) == [trial.score for trial in read_run(run).trials()[1:]], "numbers stay numbers"
    assert read_run(run).trials()[0].error == bad


def test_a_report_is_written_elsewhere_and_leaves_the_run_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="search", trials=8)
    before = sorted(path.name for path in run.iterdir())
    made = rebuild(run, tmp_path / "reports" / "mine")
    assert sorted(path.name for path in run.iterdir()) == before
    assert {path.name for path in made} == {"trials.csv", "study.journal", "pareto.png", "report.html"}
    assert all(path.parent == tmp_path / "reports" / "mine" for path in made)
    page = (tmp_path / "reports" / "mine" / "report.html").read_text()
    assert 'href="trials.csv"' in page
    assert 'href="run.yaml"' not in page, "it is not beside the page"
