"""The page in a real browser: what a reader sees, clicks and copies. Skipped where there is no Chromium."""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from nas.architecture import Architecture
from nas.report import summarise, write_report
from nas.run import Run, read_run
from nas.run.events import PhaseStarted, TrialScored
from nas.trial import Trial

from ..chromium import PROGRAM, Page, chromium
from .report_events import make_run, make_trial

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")
DRAWN = 'document.documentElement.dataset.drawn === "all"'


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("browser") / "run", trials=120, options={"data": "my images"})
    write_report(run)
    return run


@pytest.fixture
def page(browser: Page, run: Path) -> Iterator[Page]:
    """The page of a finished run, drawn; at the end of a test its console must be empty."""
    show(browser, run)
    yield browser
    assert browser.messages == []


def show(browser: Page, run: Path, **look: Any) -> None:
    browser.look(**look)
    browser.messages.clear()
    browser.requests.clear()
    browser.open(run / "report.html")
    browser.wait(DRAWN)


def trials_of(run: Path) -> dict[int, Trial]:
    return {trial.number: trial for trial in read_run(run).trials()}


def text(page: Page, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)}).innerText")


def choose(page: Page, select: str, value: str) -> None:
    page.run(f"""(() => {{
      const found = document.getElementById({json.dumps(select)});
      found.value = {json.dumps(value)};
      found.dispatchEvent(new Event("change"));
    }})()""")


def point(page: Page, plot: str, place: int) -> tuple[float, float]:
    """The middle of a marker of a plot, scrolled into view; markers are in the order of trials within their layout."""
    page.middle(plot)
    found = page.run(f"""(() => {{
      const svg = document.querySelector("{plot} svg"), path = svg.querySelectorAll(".cloud path")[{place}];
      const start = path.getPointAtLength(0), matrix = path.getScreenCTM();
      const at = new DOMPoint(start.x + 2, start.y).matrixTransform(matrix);
      return [at.x, at.y];
    }})()""")
    return found[0], found[1]


def test_nothing_is_fetched_and_nothing_goes_wrong(page: Page, run: Path) -> None:
    assert page.requests == [(run / "report.html").resolve().as_uri()]
    assert page.run("document.querySelectorAll('svg[aria-label]').length") > 10
    # A path of every chart is inside its chart, and no number was none.
    assert (
        page.run("[...document.querySelectorAll('svg *')].filter((e) => /NaN|undefined/.test(e.outerHTML)).length") == 0
    )


def test_winners_are_drawn_to_scale(page: Page, run: Path) -> None:
    best = summarise(read_run(run)).winners[0].trial
    assert best is not None
    label = page.run("document.querySelector('.card .network').getAttribute('aria-label')")
    depths = [len(stage.layers) for stage in best.architecture.stages]
    for depth, letter in zip(depths, best.layout, strict=True):
        assert f"{depth} {letter} layer" in label
    boxes = page.run("""[...document.querySelector('.card .network').querySelectorAll(':scope > g')].map((stage) =>
      [...stage.querySelectorAll('rect')].map((r) => [+r.getAttribute('width'), +r.getAttribute('height')]))""")
    assert [len(stage) for stage in boxes] == depths
    heights = [stage[0][1] for stage in boxes]
    assert heights == pytest.approx([heights[0] / 2**i for i in range(4)], rel=0.01)
    widths = [stage.layers[0].branches[0].mixer.get("width") for stage in best.architecture.stages]
    assert [stage[0][0] / boxes[0][0][0] for stage in boxes] == pytest.approx([w / widths[0] for w in widths])


def test_hovering_tells_the_architecture(page: Page, run: Path) -> None:
    page.move(*point(page, "#front-plot", 0))
    tip = text(page, ".tip").splitlines()
    number, layout = tip[0].removeprefix("Trial ").split(" · ")
    trial = trials_of(run)[int(number)]
    assert layout == trial.layout
    assert f"depths {'-'.join(str(len(stage.layers)) for stage in trial.architecture.stages)}" in tip
    assert f"multiply-adds: {trial.cost.macs / 1e6:.2f} MMACs" in tip
    page.move(5, 5)
    assert page.run("document.querySelector('.tip').hidden")


def test_clicking_shows_a_network_whose_yaml_and_command_can_be_copied(page: Page, run: Path) -> None:
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.click(*point(page, "#front-plot", 1))
    number = int(page.run("document.querySelector('#picked').dataset.trial"))
    trial = trials_of(run)[number]
    assert text(page, "#picked h3") == f"Trial {number} · {trial.layout}"
    assert page.run("document.querySelectorAll('#picked .network rect').length") == sum(
        len(stage.layers) for stage in trial.architecture.stages
    )
    copied = []
    for button in ("Copy YAML", "Copy command"):
        buttons = "[...document.querySelectorAll('#picked button')]"
        page.run(f"{buttons}.find((each) => each.innerText === '{button}').id = 'now'")
        page.click_on("#now")
        page.wait("document.querySelector('#now').innerText === 'Copied'")
        copied.append(page.run("navigator.clipboard.readText()"))
        page.run("document.querySelector('#now').removeAttribute('id')")
    assert Architecture.from_yaml(copied[0]) == trial.architecture
    assert copied[1] == f"nas train trial-{number}.yaml --data 'my images'"
    saved = page.run("document.querySelector('#picked a[download]').href.split(',')[1]")
    assert page.run(f"decodeURIComponent({json.dumps(saved)})") == copied[0]
    page.click_on("#picked .close")
    assert page.run("document.querySelector('#picked').hidden")


def test_the_keys_go_along_the_front_and_say_what_is_there(page: Page, run: Path) -> None:
    front = summarise(read_run(run)).front
    page.run("document.querySelector('#front-plot').focus()")
    page.press("Home")
    assert text(page, ".tip").startswith(f"Trial {front[0].number} ")
    assert page.run("document.querySelector('[aria-live]').textContent").startswith(f"Trial {front[0].number} ")
    page.press("ArrowRight")
    second = text(page, ".tip").splitlines()[0]
    assert not second.startswith(f"Trial {front[0].number} ")
    page.press("Enter")
    assert text(page, "#picked h3") == second
    assert page.run("document.activeElement === document.querySelector('#picked h3')")


def test_axes_can_be_changed_and_the_table_says_the_same(page: Page, run: Path) -> None:
    rows = "document.querySelectorAll('#front-table tbody tr').length"
    summary = summarise(read_run(run))
    assert page.run(rows) == len(summary.front)
    choose(page, "front-y", "test")
    assert page.run("document.querySelectorAll('#front-plot circle[r=\"6.5\"]').length") == len(summary.candidates)
    trained = [(c.macs or 0, -(c.test_accuracy or 0)) for c in summary.candidates]
    best = [a for a in trained if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in trained)]
    assert page.run(rows) == len(best)
    choose(page, "front-x", "params")
    assert "parameters (K params)" in page.run("document.querySelector('#front-plot').textContent")


def test_of_too_many_layouts_colors_are_of_shares_of_attention(browser: Page, page: Page, tmp_path: Path) -> None:
    assert text(page, "#front-legend").startswith("AAAA (")
    run = make_run(tmp_path / "run", trials=80, layouts=tuple("".join(each) for each in product("CA", repeat=5)))
    write_report(run)
    show(browser, run)
    shares = Counter(math.ceil(4 * trial.layout.count("A") / 5) for trial in read_run(run).trials() if trial.complete)
    words = ("no attention", "up to a quarter attention", "up to half", "up to three quarters", "more")
    expected = [f"{name} ({shares[i]})" for i, name in enumerate(words) if shares[i]]
    assert text(browser, "#front-legend").split("\n") == expected


def test_charts_fit_a_phone_and_both_color_schemes(browser: Page, run: Path) -> None:
    for dark in (False, True):
        show(browser, run, width=400, dark=dark)
        assert browser.run("document.documentElement.scrollWidth") == 400
        back = browser.run("getComputedStyle(document.body).backgroundColor")
        assert (back == "rgb(22, 25, 29)") is dark
        assert browser.messages == []
    browser.look(width=700, media="print", dark=True)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.querySelector('.controls')).display") == "none"


@pytest.mark.parametrize("until", ["created", "supernet", "search", "finalists", "export"])
def test_a_run_at_any_stage_can_be_opened(browser: Page, until: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until=until, trials=60)
    write_report(run)
    show(browser, run)
    assert browser.messages == []


def test_text_of_a_run_is_only_ever_text(browser: Page, tmp_path: Path) -> None:
    bad = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>&\"\u2028"
    run = make_run(
        tmp_path / "run", trials=60, failures=5, error=bad, verdict=bad, layouts=("<b>A", "C&\"'"),
        options={"data": bad, "space": bad, "metric": bad},
    )  # fmt: skip
    write_report(run)
    show(browser, run)
    browser.click(*point(browser, "#front-plot", 0))
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert browser.run("window.hacked === undefined && !document.querySelector('b, img')")
    assert browser.messages == []
    assert text(browser, "#picked .command").startswith("nas train trial-")


@pytest.mark.slow
def test_ten_thousand_trials_are_small_and_quick(browser: Page, tmp_path: Path) -> None:
    run, rng = tmp_path / "run", random.Random(0)
    make_run(run, trials=1)
    with Run.open(run) as opened:
        opened.append(PhaseStarted(phase="search"))
        for number in range(1, 10_000):
            opened.append(TrialScored(trial=make_trial(number, rng).to_dict()))
    write_report(run)
    assert (run / "report.html").stat().st_size < 2_000_000
    show(browser, run)
    paint = browser.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    tasks = browser.run("""new Promise((done) => {
      const tell = (list) => done(list.getEntries().map((each) => each.duration));
      new PerformanceObserver(tell).observe({type: "longtask", buffered: true});
      setTimeout(() => done([]), 500);
    })""")
    x, y = browser.middle("#front-plot")
    start = time.monotonic()
    for i in range(50):
        browser.move(x + i, y)
    assert (paint, max(tasks, default=0), (time.monotonic() - start) / 50) < (3000, 2000, 0.2)
    assert browser.messages == []
