"""Size and speed of a run's report.html in Chromium: `python experiments/charts/page.py runs/a`.

Writes results/charts/page.csv: medians over reloads of the first paint, of the time until every chart is drawn (both
from the start of the navigation) and of the longest task; the longest frame while the mouse moves over the front; the
time of a change of its axis.
"""

from __future__ import annotations

import csv
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from chromium import Page, chromium  # noqa: E402

RELOADS, MOVES = 7, 100


def reload(page: Page, path: Path) -> tuple[float, float, float]:
    page.open(path)
    page.wait('document.documentElement.dataset.drawn === "all"')
    return tuple(
        page.run("""new Promise((done) => {
          const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
          const most = (list, of) => Math.max(...list.getEntries().map(of));
          const end = (each) => each.startTime + each.duration;
          const tell = (list) => done([paint, most(list, end), most(list, (each) => each.duration)]);
          new PerformanceObserver(tell).observe({type: "longtask", buffered: true});
          setTimeout(() => done([paint, performance.now(), 0]), 500);
        })""")
    )


def longest_frame(page: Page) -> float:
    x, y = page.middle("#front-plot")
    page.run("""(() => { window.longest = 0; let last = performance.now(), first = true;
      const frame = (now) => { if (!first) window.longest = Math.max(window.longest, now - last);
        first = false; last = now; requestAnimationFrame(frame); };
      requestAnimationFrame(frame); })()""")
    for i in range(MOVES):
        page.move(x - 300 + 6 * i, y - 80 + 1.5 * i)
    return page.run("window.longest")


def main() -> None:
    path = Path(sys.argv[1]) / "report.html"
    with chromium() as page:
        page.look()
        found = [statistics.median(each) for each in zip(*(reload(page, path) for _ in range(RELOADS)), strict=True)]
        frame = longest_frame(page)
        changed = page.run("""(() => { const start = performance.now(), select = document.getElementById("front-x");
          select.value = "params"; select.dispatchEvent(new Event("change"));
          document.getElementById("front-plot").getBoundingClientRect(); return performance.now() - start; })()""")
        trials = page.run("JSON.parse(document.getElementById('data').textContent).columns.number.length")
        assert page.messages == [], page.messages
    target = ROOT / "results/charts/page.csv"
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trials", "bytes", "paint_ms", "drawn_ms", "task_ms", "frame_ms", "axis_ms", "n"])
        writer.writerow([trials, path.stat().st_size, *(round(each) for each in (*found, frame, changed)), RELOADS])
    print(target.read_text())


if __name__ == "__main__":
    main()
