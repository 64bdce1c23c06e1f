"""Size of each library's bundle, and the time until it has drawn 10,000 points.

Needs npm and Chromium. Each library draws the same points in five groups, at its defaults without animation; times are
from the call to the second frame after it, the libraries in turn. Writes results/charts/candidates.csv.
"""

from __future__ import annotations

import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from chromium import Page, chromium  # noqa: E402

PACKAGES = (
    "@observablehq/plot@0.6.17", "echarts@6.1.0", "plotly.js-basic-dist-min@4.1.1", "vega@6.4.0", "vega-lite@6.5.0",
    "vega-embed@7.1.0", "uplot@1.6.32", "esbuild@0.28.2",
)  # fmt: skip
POINTS, ROUNDS = 10_000, 7
ECHARTS = """
import {init, use} from "echarts/core";
import {BarChart, HeatmapChart, LineChart, ScatterChart} from "echarts/charts";
import {AriaComponent, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent} from "echarts/components";
import {CanvasRenderer} from "echarts/renderers";
use([BarChart, HeatmapChart, LineChart, ScatterChart, AriaComponent, GridComponent, LegendComponent, MarkLineComponent,
  TooltipComponent, CanvasRenderer]);
export {init};
"""
DRAW = {
    "Observable Plot": """document.getElementById("c").append(Plot.plot({width: 980, height: 460, grid: true,
      marks: [Plot.dot(X, {x: X, y: Y, fill: G, symbol: G, r: 2.5})]}))""",
    "ECharts": """echarts.init(document.getElementById("c")).setOption({animation: false, aria: {enabled: true},
      tooltip: {}, xAxis: {scale: true}, yAxis: {scale: true},
      series: [0, 1, 2, 3, 4].map((k) => ({type: "scatter", symbolSize: 5,
      data: X.map((x, i) => [x, Y[i], G[i]]).filter((d) => d[2] === k)}))})""",
    "plotly": """Plotly.newPlot("c", [0, 1, 2, 3, 4].map((k) => ({type: "scatter", mode: "markers", marker: {size: 5},
      x: X.filter((_, i) => G[i] === k), y: Y.filter((_, i) => G[i] === k)})), {})""",
    "Vega-Lite": """vegaEmbed("#c", {width: 900, height: 420, data: {values: X.map((x, i) => ({x, y: Y[i], g: G[i]}))},
      mark: {type: "point", tooltip: true}, encoding: {x: {field: "x", type: "quantitative", scale: {zero: false}},
      y: {field: "y", type: "quantitative", scale: {zero: false}}, color: {field: "g", type: "nominal"},
      shape: {field: "g", type: "nominal"}}}, {actions: false})""",
    "uPlot": """(() => { const o = X.map((_, i) => i).sort((a, b) => X[a] - X[b]);
      new uPlot({width: 980, height: 460, scales: {x: {time: false}}, series: [{}, ...[0, 1, 2, 3, 4].map(() =>
      ({paths: () => null, points: {show: true, size: 5}}))]}, [o.map((i) => X[i]), ...[0, 1, 2, 3, 4].map((k) =>
      o.map((i) => (G[i] === k ? Y[i] : null)))], document.getElementById("c")); })()""",
}


def libraries(folder: Path) -> dict[str, list[Path]]:
    """Installs and bundles the libraries; returns their minified files."""
    subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", *PACKAGES], check=True)
    (folder / "echarts.js").write_text(ECHARTS)
    (folder / "plot.js").write_bytes((ROOT / "nas/report/assets/bundle/entry.js").read_bytes())
    for entry, name in (("echarts", "echarts"), ("plot", "Plot")):
        flags = ["--bundle", "--minify", "--format=iife", f"--global-name={name}", f"--outfile={entry}.min.js"]
        subprocess.run(["npx", "esbuild", f"{entry}.js", *flags, "--log-level=error"], cwd=folder, check=True)
    modules = folder / "node_modules"
    vega = ("vega/build/vega.min.js", "vega-lite/build/vega-lite.min.js", "vega-embed/build/vega-embed.min.js")
    return {
        "Observable Plot": [folder / "plot.min.js"],
        "ECharts": [folder / "echarts.min.js"],
        "plotly": [modules / "plotly.js-basic-dist-min/plotly-basic.min.js"],
        "Vega-Lite": [modules / name for name in vega],
        "uPlot": [modules / "uplot/dist/uPlot.iife.min.js"],
    }


def write_page(path: Path, files: list[Path], draw: str) -> None:
    rng = random.Random(0)
    x = [round(4 + 4 * rng.random(), 4) for _ in range(POINTS)]
    columns = {
        "X": x,
        "Y": [round(60 + 4 * each + rng.gauss(0, 3), 3) for each in x],
        "G": [rng.randrange(5) for _ in x],
    }
    data = "".join(f"const {name} = {json.dumps(values)};" for name, values in columns.items())
    after = "requestAnimationFrame(() => requestAnimationFrame(() => { window.done = performance.now() - start; }))"
    scripts = [file.read_text().replace("</script", "<\\/script") for file in files]
    scripts += [data, f"const start = performance.now(); Promise.resolve({draw}).then(() => {after});"]
    body = '<!doctype html><meta charset="utf-8"><div id="c" style="width:980px;height:460px"></div>'
    path.write_text(body + "".join(f"<script>{script}</script>" for script in scripts))


def draw_once(page: Page, path: Path) -> float:
    page.open(path)
    return page.wait("window.done")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, chromium() as page:
        folder = Path(name)
        files = libraries(folder)
        page.look()
        for library, paths in files.items():
            write_page(folder / f"{library}.html", paths, DRAW[library])
        times: dict[str, list[float]] = {library: [] for library in files}
        for _ in range(ROUNDS):
            for library, found in times.items():
                found.append(draw_once(page, folder / f"{library}.html"))
        assert page.messages == [], page.messages
        rows = []
        for library, found in times.items():
            low, middle, high = statistics.quantiles(found, n=4)
            size = sum(path.stat().st_size for path in files[library])
            rows.append([library, size, round(middle), round(low), round(high), len(found)])
    target = ROOT / "results/charts/candidates.csv"
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["library", "bytes", "drawn_ms", "q1", "q3", "n"])
        writer.writerows(rows)
    print(target.read_text())


if __name__ == "__main__":
    main()
