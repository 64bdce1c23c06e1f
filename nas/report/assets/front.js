// The Pareto front: two figures of all trials against one another, and the trial that was picked.
const front = {
  place: document.getElementById("front-plot"),
  across: document.getElementById("front-x"),
  up: document.getElementById("front-y"),
  below: document.getElementById("front-table"),
  panel: document.getElementById("picked"),
};

/** Places of the trials that no other beats in both figures, from the best in the first to the best in the second. */
function nonDominated(points, x, y) {
  const [sx, sy] = [x.higher ? -1 : 1, y.higher ? -1 : 1];
  const sorted = [...points].sort((a, b) => sx * (a[1] - b[1]) || sy * (a[2] - b[2]) || a[0] - b[0]);
  let best = Infinity;
  return sorted.filter((point) => {
    if (sy * point[2] >= best) return false;
    best = sy * point[2];
    return true;
  });
}

function drawFront() {
  const [x, y] = [axes.get(front.across.value), axes.get(front.up.value)];
  const [xs, ys] = [values(x.key), values(y.key)];
  const points = [];
  for (let i = 0; i < xs.length; i++) {
    if (xs[i] !== null && ys[i] !== null) points.push([i, drawn(x, xs[i]), drawn(y, ys[i])]);
  }
  if (!points.length) {
    front.place.replaceChildren(element("p", {}, `No trial has both: ${x.label} and ${y.label}.`));
    front.below.replaceChildren();
    return;
  }
  const line = nonDominated(points, x, y);
  const ringed = points.filter(([place]) => finalists.has(place));
  const ranked = ringed.filter(([place]) => finalists.get(place).rank);
  const visited = new Map([...line, ...ringed].map((point) => [point[0], point]));
  const order = [...visited.values()].sort((a, b) => a[1] - b[1]);
  const at = {x: (point) => point[1], y: (point) => point[2]};
  scatter(front.place, {
    points, order: order.map(([place]) => place), pick,
    label: `${y.label} against ${x.label} of ${points.length} trials`,
    x: {label: labelled(x), also: bounds(x)}, y: {label: labelled(y), also: bounds(y)},
    marks: [
      Plot.ruleX(bounds(x).slice(0, 1), {strokeDasharray: "6,4", ariaLabel: () => "budget"}),
      Plot.ruleY(bounds(y).slice(0, 1), {strokeDasharray: "6,4", ariaLabel: () => "budget"}),
      Plot.line(line, {...at, curve: "step-after", stroke: "var(--ink)", strokeWidth: 1.3, ariaLabel: () => "Pareto front"}),
      Plot.dot(line, {...at, r: 2, fill: "var(--ink)", ariaHidden: "true"}),
      Plot.dot(ringed, {...at, r: 6.5, stroke: "var(--ink)", strokeWidth: 1.8, ariaHidden: "true"}),
      Plot.text(ranked, {
        ...at, text: (point) => String(finalists.get(point[0]).rank), dx: 11, dy: -9, fontWeight: 700, fontSize: 13,
        fill: "var(--ink)", stroke: "var(--page)", strokeWidth: 3, ariaHidden: "true",
      }),
    ],
  });
  front.below.replaceChildren(frontTable(line, x, y));
}

/** The budget's bound on an axis, and the least that the search uses of it; empty without one. */
const bounds = (axis) => [axis.bound, axis.least].filter((value) => value !== null).map((value) => drawn(axis, value));

function frontTable(line, x, y) {
  const columnsShown = [x, y, ...data.axes.filter((axis) => axis !== x && axis !== y)];
  const rows = line.map(([place]) => [
    showButton(place), layoutOf(place), ...columnsShown.map((axis) => shown(axis, values(axis.key)[place])),
  ]);
  const headers = ["Trial", "Layout", ...columnsShown.map((axis) => axis.label)];
  return tableBelow(
    `The ${line.length} networks of the front of ${y.label} and ${x.label}`, headers, rows,
    columnsShown.map((_, i) => i + 2),
  );
}

function showButton(place) {
  const text = String(columns.number[place]);
  return element("button", {type: "button", class: "link", "aria-label": `Show trial ${text}`, onclick: () => pick(place)}, text);
}

/** Shows a trial: drawn, its figures, its YAML and the command that trains it. */
function pick(place) {
  const stages = stagesOf(place);
  const close = element("button", {type: "button", class: "close", "aria-label": "Close", onclick: unpick}, "×");
  const figures = element("dl", {class: "figures"}, ...data.axes.flatMap((axis) => {
    const value = values(axis.key)[place];
    return value === null ? [] : [element("div", {}, element("dt", {}, axis.label), element("dd", {}, shown(axis, value)))];
  }));
  const title = element("h3", {tabindex: "-1"}, nameOf(place));
  front.panel.replaceChildren(close, title, figures, ...(stages ? architectureParts(place, stages) : [element(
    "p", {class: "quiet"}, "The page has the architectures of the best trials only: that of this one is in events.jsonl.",
  )]));
  front.panel.hidden = false;
  front.panel.dataset.trial = columns.number[place];
  if (stages) drawAll([[front.panel.querySelector(".drawing"), nameOf(place), stages]]);
  hideTip();
  title.focus({preventScroll: true});
  front.panel.scrollIntoView({block: "nearest"});
}

function architectureParts(place, stages) {
  const source = element("pre", {}, yamlOf(place));
  const command = element("pre", {class: "command"}, commandOf(place));
  const details = element("details", {}, element("summary", {}, fileOf(place)), source);
  const opened = () => { details.open = true; return source; };
  const save = element("a", {
    class: "button", download: fileOf(place), href: `data:text/yaml;charset=utf-8,${encodeURIComponent(yamlOf(place))}`,
  }, `Save ${fileOf(place)}`);
  return [
    element("div", {class: "drawing"}),
    element("ol", {class: "stages"}, ...stages.map((stage) => element("li", {}, `${stageWords(stage)}: ${opWords(stage)}`))),
    element("p", {}, "Save its YAML beside your data, then train it:"),
    command,
    element(
      "div", {class: "buttons"}, copyButton("Copy YAML", yamlOf(place), opened), save,
      copyButton("Copy command", commandOf(place), () => command),
    ),
    details,
  ];
}

function unpick() {
  front.panel.hidden = true;
  delete front.panel.dataset.trial;
  front.place.focus({preventScroll: true});
}
