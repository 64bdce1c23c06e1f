from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib._pylab_helpers import Gcf
from PIL import Image

from nas.report import Summary, draw_pareto, summarise, write_pareto
from nas.report.drawing import Look
from nas.run import read_run

from .report_events import LAYOUTS, STAGES, make_run


def summary_of(run: Path) -> Summary:
    return summarise(read_run(run))


def size(png: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(png)) as image:
        return image.size


@pytest.mark.parametrize("until", STAGES)
def test_the_front_can_be_drawn_at_every_stage_of_a_run(until: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until=until, trials=30)
    assert write_pareto(run) == run / "pareto.png"
    assert size((run / "pareto.png").read_bytes()) == (1260, 705)


def test_pictures_are_the_same_for_the_same_run_and_differ_by_look(tmp_path: Path) -> None:
    summary = summary_of(make_run(tmp_path / "run", until="search", trials=30))
    looks = [Look(), Look(dark=True), Look(narrow=True)]
    drawn = [draw_pareto(summary, look) for look in looks]
    assert draw_pareto(summary) == drawn[0]
    assert len(set(drawn)) == 3
    assert size(drawn[2])[0] < size(drawn[0])[0]


@pytest.mark.parametrize(
    ("options", "layouts"),
    [
        ({"objective": "params", "budgets": ["250Kparams"]}, LAYOUTS),
        ({"budgets": []}, LAYOUTS),
        ({"min_share": 0}, LAYOUTS),
        ({"method": "another"}, LAYOUTS),
        ({}, tuple(f"${a}_{{{b}" for a in "CAX" for b in "CAYZ")),  # more than colours, and no mathematics
        ({}, ("_hidden", "")),
        ({}, ("CCCCAAAACCCCAAAACCCCAAAA", "CACACACACACACACACACACACA")),
    ],
)
def test_odd_runs_can_be_drawn(options: dict[str, object], layouts: tuple[str, ...], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=30, options=options, layouts=layouts)
    assert size(draw_pareto(summary_of(run))) == (1260, 705)


def test_drawing_leaves_the_global_state_of_matplotlib_alone(tmp_path: Path, unchanged_rc: Callable[[], bool]) -> None:
    draw_pareto(summary_of(make_run(tmp_path / "run", trials=30)))
    assert unchanged_rc()
    assert Gcf.get_num_fig_managers() == 0


@pytest.fixture
def unchanged_rc() -> Callable[[], bool]:
    before = dict(mpl.rcParams)
    return lambda: dict(mpl.rcParams) == before
