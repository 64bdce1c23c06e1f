// Training curves.
const STYLES = ["none", "6,3", "2,3", "8,3,2,3"];
const COLORS = Array.from({length: 6}, (_, i) => `var(--c${i})`);

/** Lines over epochs. */
function drawCurves(target, chart) {
  const names = Object.keys(chart.series);
  const factor = chart.is_share ? 100 : 1;
  const rows = names.flatMap((name) => chart.series[name].map(([epoch, value]) => ({name, epoch, value: factor * value})));
  const style = new Map(names.map((name, i) => [name, {stroke: COLORS[i % COLORS.length], strokeDasharray: STYLES[Math.floor(i / COLORS.length) % STYLES.length]}]));
  const epochs = [...new Set(rows.map((each) => each.epoch))].sort((a, b) => a - b);
  const few = rows.length <= 12 * names.length;
  const at = {x: "epoch", y: "value"};
  const drawing = Plot.plot({
    width: Math.max(280, target.clientWidth), height: 280, marginLeft: 50, marginBottom: 38, ariaLabel: chart.title,
    x: {grid: true, label: chart.x_label, ticks: epochs.length <= 12 ? epochs : 10, tickFormat: "d"},
    y: {grid: true, inset: 6, label: chart.is_share ? `${chart.y_label} (%)` : chart.y_label},
    marks: names.flatMap((name) => {
      const own = rows.filter((each) => each.name === name);
      const {stroke, strokeDasharray} = style.get(name);
      const title = (each) => `${name}, epoch ${each.epoch}: ${each.value.toPrecision(4)}`;
      return [
        Plot.line(own, {...at, stroke, strokeDasharray, strokeWidth: 1.8, ariaLabel: () => name}),
        Plot.dot(own, {...at, fill: stroke, r: few ? 3.5 : 1.5, title}),
      ];
    }),
  });
  const legend = element("ul", {class: "legend"}, ...names.map((name) => {
    const line = svg("line", {x1: 0, y1: 6, x2: 20, y2: 6, "stroke-width": 2.5, stroke: style.get(name).stroke, "stroke-dasharray": style.get(name).strokeDasharray});
    return element("li", {}, svg("svg", {width: 20, height: 12, "aria-hidden": "true"}, line), name);
  }));
  target.replaceChildren(drawing, legend);
  const cell = (name, epoch) => rows.find((each) => each.name === name && each.epoch === epoch)?.value.toPrecision(4) ?? "–";
  return tableBelow(chart.title, [chart.x_label, ...names], epochs.map((epoch) => [String(epoch), ...names.map((name) => cell(name, epoch))]), names.map((_, i) => i + 1));
}
