// A cloud of trials with a tip for each of them, by mouse, touch and keys. Axes, grid and lines are Observable Plot's.
const MOST_GROUPS = 6;
// Paths around a point, of which `s` is half the size, about.
const SHAPES = [
  (x, y, s) => `M${round(x - s)},${y}a${s},${s} 0 1,0 ${2 * s},0a${s},${s} 0 1,0 ${-2 * s},0`,
  (x, y, s) => `M${round(x - 0.9 * s)},${round(y - 0.9 * s)}h${1.8 * s}v${1.8 * s}h${-1.8 * s}z`,
  (x, y, s) => `M${x},${round(y - 1.2 * s)}l${1.2 * s},${2.1 * s}h${-2.4 * s}z`,
  (x, y, s) => `M${x},${round(y - 1.3 * s)}l${1.1 * s},${1.3 * s}l${-1.1 * s},${1.3 * s}l${-1.1 * s},${-1.3 * s}z`,
  (x, y, s) => `M${x},${round(y + 1.2 * s)}l${1.2 * s},${-2.1 * s}h${-2.4 * s}z`,
  (x, y, s) => `M${round(x - 1.1 * s)},${round(y - 0.4 * s)}h${2.2 * s}v${0.8 * s}h${-2.2 * s}z`,
  (x, y, s) => `M${round(x - 0.4 * s)},${round(y - 1.1 * s)}h${0.8 * s}v${2.2 * s}h${-0.8 * s}z`,
];
const round = (value) => Math.round(10 * value) / 10;

/** Groups of trials with a color and a shape each: name and number of trials, and the group of each trial. */
const groups = byLayout() ?? byAttention();

/** The most common layouts, and the others as a last group; null where these would be most of all trials. */
function byLayout() {
  const counts = new Map();
  for (const layout of columns.layout) counts.set(layout, (counts.get(layout) ?? 0) + 1);
  const common = [...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_GROUPS)
    .sort(([a], [b]) => (data.layouts[a] < data.layouts[b] ? -1 : 1));
  const others = columns.layout.length - common.reduce((sum, [, count]) => sum + count, 0);
  if (others > columns.layout.length / 2) return null;
  const place = new Map(common.map(([layout], i) => [layout, i]));
  const names = common.map(([layout, count]) => [data.layouts[layout] || "no layout", count]);
  if (others) names[MOST_GROUPS] = ["other layouts", others];
  return {title: "Layouts", names, of: columns.layout.map((layout) => place.get(layout) ?? MOST_GROUPS)};
}

/** Groups by the share of layers that use attention, where nearly every trial has a layout of its own. */
function byAttention() {
  const of = columns.attention.map((share) => Math.ceil(4 * share));
  const names = ["no attention", "up to a quarter attention", "up to half", "up to three quarters", "more"]
    .map((name, i) => [name, of.filter((group) => group === i).length]);
  return {title: "Share of attention", names, of};
}

/** The legend of groups: shape, color, name and number of trials. */
function groupLegend() {
  const known = groups.names.map((each, i) => [i, ...each]).filter(([, , count]) => count);
  return element("ul", {class: "legend", "aria-label": groups.title}, ...known.map(([group, name, count]) => {
    const mark = svg("svg", {width: 12, height: 12, "aria-hidden": "true"}, svg("path", {d: SHAPES[group](6, 6, 4), class: `mark g${group}`}));
    const text = name.length > 28 ? `${name.slice(0, 27)}…` : name;
    return element("li", {title: name}, mark, `${text} (${count.toLocaleString("en-US")})`);
  }));
}

/** A mark for Plot: one path per group, so that thousands of trials are a few elements. */
function cloud(points) {
  return (index, {x, y}) => {
    const size = points.length > 2000 ? 2 : 3;
    const paths = Array.from({length: MOST_GROUPS + 1}, () => []);
    for (const [place, across, up] of points) {
      const group = groups.of[place];
      paths[group].push(SHAPES[group](round(x(across)), round(y(up)), size));
    }
    const group = svg("g", {class: "cloud", "aria-hidden": "true"});
    paths.forEach((path, i) => { if (path.length) group.append(svg("path", {d: path.join(""), class: `mark g${i}`})); });
    return group;
  };
}

/** The range of a coordinate of points, and of values that are to be seen as well. */
function domain(points, coordinate, also = []) {
  let low = Infinity, high = -Infinity;
  for (const value of [...points.map((point) => point[coordinate]), ...also]) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low === high ? [low - 1, high + 1] : [low, high];
}

/**
 * Draws a cloud of trials into a figure's place.
 *
 * points: [place, x, y] in the units that the axes have; order: places that the arrow keys visit.
 * marks: further marks of Plot; pick: what a click, or Enter, does with a trial.
 */
function scatter(target, {points, order, x, y, marks, pick, label, height}) {
  const width = Math.max(280, target.clientWidth);
  const drawing = Plot.plot({
    width, height: height ?? Math.round(Math.min(460, Math.max(300, width * 0.5))),
    marginLeft: 62, marginBottom: 42, ariaLabel: label,
    x: {grid: true, inset: 10, domain: domain(points, 1, x.also), ...x},
    y: {grid: true, inset: 10, domain: domain(points, 2, y.also), ...y},
    marks: [cloud(points), ...marks],
  });
  const [across, up] = [drawing.scale("x").apply, drawing.scale("y").apply];
  const places = points.map(([place]) => place);
  const pixels = points.map(([, a, b]) => [across(a), up(b)]);
  const where = new Map(places.map((place, i) => [place, i]));
  const ring = svg("circle", {r: 8, class: "ring", visibility: "hidden"});
  drawing.append(ring);
  target.replaceChildren(drawing);
  let current = -1;

  const show = (i) => {
    current = i;
    if (i < 0) { ring.setAttribute("visibility", "hidden"); hideTip(); return; }
    ring.setAttribute("cx", pixels[i][0]);
    ring.setAttribute("cy", pixels[i][1]);
    ring.setAttribute("visibility", "visible");
    const box = drawing.getBoundingClientRect();
    const ratio = box.width / width;
    showTip(linesOf(places[i]), box.x + pixels[i][0] * ratio, box.y + pixels[i][1] * ratio);
  };
  const nearest = (event) => {
    const box = drawing.getBoundingClientRect();
    const ratio = width / box.width;
    const [px, py] = [(event.clientX - box.x) * ratio, (event.clientY - box.y) * ratio];
    let best = -1, least = 28 ** 2;
    for (let i = 0; i < pixels.length; i++) {
      const distance = (pixels[i][0] - px) ** 2 + (pixels[i][1] - py) ** 2;
      if (distance < least) { least = distance; best = i; }
    }
    return best;
  };
  target.onpointermove = (event) => { const i = nearest(event); if (i !== current) show(i); };
  target.onpointerleave = () => show(-1);
  target.onblur = () => show(-1);
  target.onclick = (event) => { const i = nearest(event); if (i >= 0) pick(places[i]); };
  target.onkeydown = (event) => {
    const at = order.indexOf(places[current]);
    const moves = {ArrowRight: at + 1, ArrowLeft: at < 0 ? order.length - 1 : at - 1, Home: 0, End: order.length - 1};
    if (event.key in moves && order.length) {
      const next = order[Math.max(0, Math.min(order.length - 1, moves[event.key]))];
      show(where.get(next));
      said.textContent = linesOf(next).join(", ");
    } else if (event.key === "Enter" && current >= 0) pick(places[current]);
    else if (event.key === "Escape") show(-1);
    else return;
    event.preventDefault();
  };
}
