import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import nas
from nas.errors import RunError
from nas.formats import count, duration, listing, moment, number, percent, points, score_text
from nas.report import rebuild, write_report
from nas.report.page import save_report
from nas.report.rendering import asset, environment
from nas.report.summary import summarise
from nas.run import Run, read_run
from nas.run.events import RankingEvaluated

from .report_events import STAGES, make_run

VOID = {"meta", "link", "img", "source", "br", "line", "circle"}


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects the text and the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def read(run: Path) -> Reader:
    reader = Reader()
    reader.feed(write_report(run).read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def test_the_sections_stand_in_the_order_in_which_they_are_asked_for(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "run", trials=60)).text
    parts = [
        "The best network found, CC",
        "The front Each marker",
        "The trials Scores",
        "Did the supernet converge?",
        "Ranking check:",
        "Which choices mattered",
        "Training of the finalists",
        "Cost of the run",
        "Repeat this search:",
        "Next steps Classify",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_the_answer_names_accuracy_cost_and_share_of_the_budget(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "run", trials=60, options={"budgets": ["8MFLOPs", "1Mparams"]})).text
    assert re.search(
        r"The best network found, \w{4} \([\d-]+ layers\), reaches 95\.1 % test accuracy with \d\.\d\d MMACs "
        r"\(what papers call FLOPs\) and \d+\.\d\d K params: \d+\.\d % of the budget of 8\.00 MMACs and "
        r"\d+\.\d % of the budget of 1\.00 M params\.",
        text,
    )
    assert text.count("what papers call FLOPs") == 1


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("created", ["No network has been scored yet; the budget is 8.00 MMACs", "no phase had begun"]),
        ("supernet", ["phase 1 of 4, supernet, with epoch 10 of 30 measured", "No trial is complete yet"]),
        (
            "search",
            ["No network has been trained yet. The best score so far", "20 of 60 trials done"],
        ),
        ("finalists", ["The best network trained so far", "3 of 6 finalists trained", "(epoch 10 of 20)"]),
        ("export", ["The best network found", "phase 4 of 4, export, with 1 winner exported"]),
    ],
)
def test_a_run_that_stopped_says_how_far_it_is_and_how_to_go_on(
    until: str, expected: list[str], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", until=until, trials=60)
    text = read(run).text
    for words in [*expected, f"nas-search --resume {run}"]:
        assert words in text


def test_a_finished_run_offers_training_exporting_and_another_budget(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=60, options={"data": "my images"})
    text = read(run).text
    assert f"nas train {run}/winners/1/architecture.yaml --data 'my images'" in text
    assert f"nas export {run} --rank 1" in text
    same = "nas-search --space coatnet-small --budget 8MFLOPs --data 'my images' --method supernet --seed 7"
    assert f"Repeat this search: {same}" in text
    lower = re.search(
        r"under a lower budget: nas-search --space coatnet-small --budget (\S+) --data 'my images' --method supernet",
        text,
    )
    assert lower is not None
    bound, cheapest = nas.Budget.parse(lower[1]).bound, min(t.cost.macs for t in read_run(run).trials() if t.complete)
    assert cheapest <= bound < 1.1 * cheapest
    assert "--resume" not in text


@pytest.mark.parametrize("until", STAGES)
def test_the_page_needs_nothing_from_anywhere(until: str, tmp_path: Path) -> None:
    reader = read(make_run(tmp_path / "run", until=until, trials=60))
    assert not {"iframe", "object", "img", "picture"} & set(reader.tags)
    for address in reader.addresses:
        assert address.startswith(("data:,", "#", "winners/", "run.yaml", "events.jsonl"))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "@import" not in page
    assert "url(" not in page.partition("<body>")[0]


def test_only_the_scripts_of_the_package_may_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=60)
    reader = read(run)
    _, _, plot, own = reader.scripts
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', (run / "report.html").read_text())
    assert policy is not None
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (plot, own)]
    allowed = " ".join(f"&#39;sha256-{text}&#39;" for text in hashes)
    assert f"script-src {allowed};" in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]


def test_whatever_a_run_holds_is_escaped(tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script><!--<script>&\"'\u2028\x00\udcff"
    run = make_run(
        tmp_path / "<i>run", trials=60, failures=5, error=bad, verdict=bad, layouts=(f"C{bad}"[:4], "A<b>"),
        options={"data": bad, "space": bad, "metric": bad, bad: bad}, plan={bad: [bad, {bad: True}]},
    )  # fmt: skip
    reader = read(run)
    assert reader.tags.count("script") == len(reader.scripts) == 4
    assert not {"i", "b"} & set(reader.tags)
    assert reader.text.count("</script><script>alert(1)</script><!--<script>&\"'\ufffd\ufffd\ufffd") >= 5
    data = reader.scripts[0]
    assert not set("<>&\u2028\u2029") & set(data)
    assert bad.replace("-", " ") in json.loads(data)["axes"][1]["label"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "\u2028" not in page.replace(str(asset("plot.min.js")), "")


def test_templates_show_control_characters_and_lone_surrogates_as_replacements() -> None:
    template = environment().from_string("<b title='{{ text }}'>{{ text }}</b>{{ [text] | first }}")
    shown = "\ufffd&lt;\ufffd\ufffd\n&#39;é"
    assert template.render(text="\x00<\udcff\x1b\n'é") == f"<b title='{shown}'>{shown}</b>{shown}"


def test_a_template_that_lacks_something_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="nothing"):
        environment().from_string("{{ nothing }}").render()


def test_failures_are_counted_by_reason(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "run", until="search", trials=60, failures=4)).text
    assert "20, of which 16 complete and 4 failed" in text
    assert "RuntimeError: out of memory on cpu40" in text.replace(" ", " "), "reason, trials, first trial"


def test_the_ranking_is_told_beside_its_baselines(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "run", trials=60)).text
    assert "Too few to judge." in text
    assert "the search's score+0.71−0.10 to +1.00" in text
    assert "counting parameters+0.37−0.60 to +0.90" in text
    assert "counting multiply-adds+0.37" in text


def test_a_ranking_without_figures_is_told_without_a_table(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="search", trials=60)
    with Run.open(run) as open_run:
        open_run.append(RankingEvaluated(n=1, verdict="too few to judge"))
    text = read(run).text
    assert "1 trained network has a score." in text
    assert "Spearman" not in text


def test_it_says_at_which_resolution_accuracy_and_cost_hold(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "a", trials=60)).text
    assert "Accuracy is measured on images of 28 × 28 pixels, but the budget counts the cost on images" in text
    same = make_run(tmp_path / "b", trials=60, plan={"resolution": 28})
    assert "Accuracy is measured, and costs are counted, on images of 28 × 28 pixels." in read(same).text


def test_options_are_shown_as_asked_and_as_used(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "run", trials=60)).text
    assert "--trials–60" in text
    assert "torch2.13.0+cpu" in text
    assert "digest 0123456789abcdef" in text


def test_a_run_with_next_to_nothing_recorded_still_gives_a_page(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", {}).close()
    assert "No network has been scored yet." in read(tmp_path / "run").text


def test_everything_is_rebuilt_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=60)
    made = rebuild(run)
    assert {path.name for path in made} == {"trials.csv", "study.journal", "pareto.png", "report.html"}
    assert all(path.stat().st_size for path in made)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        write_report(tmp_path)


def test_figures_have_units() -> None:
    assert percent(0.81249) == "81.2 %"
    assert percent(None) == "–"
    assert points(-0.0123) == "−1.2 points"
    assert number(-1234.56) == "−1235"
    assert [number(value) for value in (97098.0, -2000.0, 0.5, None)] == ["97,098", "−2,000", "0.5", "–"]
    assert [number(value) for value in (137_610.5, -98_765.4, 2.5e13, 9999.6)] == [
        "137,600",
        "−98,770",
        "2.5e+13",
        "1e+04",
    ]
    assert [score_text(value) for value in (97098.0, 229_710, 1234.5, 3.0, -0.25)] == [
        "97,098", "229,710", "1234.5000", "3.0000", "-0.2500",
    ]  # fmt: skip
    assert [duration(s) for s in (0.0088, 0.42, 37, 245, 59.6, 11_520, 187_200)] == [
        "8.8 ms", "0.42 s", "37 s", "4 min 05 s", "1 min 00 s", "3 h 12 min", "2 d 4 h",
    ]  # fmt: skip
    assert count(1, "trial") == "1 trial"
    assert count(1200, "trial") == "1,200 trials"
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert moment("2025-11-21T14:03:59.123+02:00") == "2025-11-21 12:03 UTC"


def test_the_bundled_library_is_the_one_that_its_readme_names() -> None:
    text = asset("README.md")
    digest = hashlib.sha256(asset("plot.min.js").encode()).hexdigest()
    assert f"sha256 `{digest}`" in text
    assert "@observablehq/plot 0.6.17\n" in asset("plot.licenses.txt")
    assert json.loads(asset("bundle/package.json"))["dependencies"] == {"@observablehq/plot": "0.6.17"}


SAME = "proposes the same networks"


@pytest.mark.parametrize(
    ("options", "plan", "said"),
    [
        ({}, {"device": "cpu"}, True),
        ({"time": 1200}, {"device": "cpu"}, False),
        ({"asynchronous": True, "workers": 2}, {"device": "cpu"}, False),
        ({}, {"device": "cuda"}, False),
    ],
)
def test_the_page_says_that_a_search_repeats_only_where_it_does(
    tmp_path: Path, options: dict[str, object], plan: dict[str, object], said: bool
) -> None:
    text = read(make_run(tmp_path / "run", trials=20, options=options, plan=plan)).text
    assert "Repeat this search" in text
    assert (SAME in text) == said


def test_the_front_is_of_the_metric_that_ranks(tmp_path: Path) -> None:
    text = read(make_run(tmp_path / "run", trials=20, options={"metric": "balanced-accuracy"})).text
    assert "* marks the front of balanced accuracy and MACs" in text


def test_winners_are_linked_only_from_the_folder_that_they_are_in(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=20)
    for rank in range(1, 7):
        (run / "winners" / str(rank)).mkdir(parents=True, exist_ok=True)
    (tmp_path / "elsewhere").mkdir()
    beside, apart = (
        save_report(summarise(read_run(run)), folder).read_text() for folder in (run, tmp_path / "elsewhere")
    )
    assert 'href="winners/1/"' in beside
    assert 'href="winners/1/"' not in apart
    assert "winners/1" in apart
