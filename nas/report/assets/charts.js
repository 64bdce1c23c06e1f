// The other charts: accuracies of finalists, progress, ranking, effects of choices.
/** Accuracy of the finalists with its standard error, the best first. */
function drawAccuracies(target) {
  const rows = data.finalists.filter((each) => each.validation !== null);
  const share = {is_share: true};
  const margin = Math.min(230, target.clientWidth * 0.45);
  const named = rows.map((each) => ({...each, label: nameWithin(each, Math.floor(margin / 7)), low: each.validation - (each.error ?? 0), high: each.validation + (each.error ?? 0)}));
  target.replaceChildren(Plot.plot({
    width: Math.max(280, target.clientWidth), height: 54 + 26 * named.length, marginBottom: 38,
    marginLeft: margin, ariaLabel: "Validation accuracy of finalists with its standard error",
    x: {grid: true, inset: 14, ticks: 5, label: `${axes.get("validation").label} ± standard error (%)`},
    y: {label: null, domain: named.map((each) => each.label)},
    marks: [
      Plot.ruleY(named, {x1: (each) => 100 * each.low, x2: (each) => 100 * each.high, y: "label", stroke: "var(--quiet)", strokeWidth: 2}),
      Plot.dot(named, {x: (each) => 100 * each.validation, y: "label", r: 5, fill: (each) => (each.chosenBy.startsWith("score") ? "var(--c0)" : "var(--c1)")}),
    ],
  }));
  const table = rows.map((each) => [
    each.name, each.chosenBy, shown(share, each.validation), each.error === null ? "–" : `± ${(100 * each.error).toFixed(1)}`, shown(share, each.test),
  ]);
  return tableBelow("Accuracies of the finalists", ["Network", "Chosen by", "Validation", "Standard error", "Test"], table, [2, 3, 4]);
}

/** A finalist's name and what chose it, in at most so many letters. */
function nameWithin({name, chosenBy}, letters) {
  const by = chosenBy.startsWith("rival") ? "rival" : chosenBy; // whose name says which
  const room = Math.max(4, letters - by.length - 2);
  return `${name.length > room ? `${name.slice(0, room - 1)}…` : name}, ${by}`;
}

/** Scores in the order of the trials, and the best until then. */
function drawProgress(target) {
  const axis = axes.get("score");
  const points = columns.score.map((score, place) => [place, columns.number[place], drawn(axis, score)]);
  let best = -Infinity;
  const steps = points.filter(([, , score]) => (score > best ? ((best = score), true) : false));
  const line = [...steps, [null, points.at(-1)[1], best]];
  scatter(target, {
    points, order: steps.map(([place]) => place), pick, height: 300,
    label: `Scores of ${points.length} trials in their order`,
    x: {label: "trial"}, y: {label: labelled(axis)},
    marks: [Plot.line(line, {x: (p) => p[1], y: (p) => p[2], curve: "step-after", stroke: "var(--ink)", strokeWidth: 1.5, ariaLabel: () => "best so far"})],
  });
  const rows = steps.map(([place]) => [showButton(place), layoutOf(place), data.origins[columns.origin[place]] || "–", shown(axis, columns.score[place])]);
  return tableBelow("Trials that were the best when they were scored", ["Trial", "Layout", "Origin", axis.label], rows, [0, 3]);
}

/** Each predictor of the accuracy of trained networks against that accuracy. */
function drawRanking(target) {
  const rows = data.finalists.filter((each) => each.test !== null && each.score !== null);
  const predictors = ["score", "params", "macs"].filter((key) => axes.has(key) && rows.some((each) => each[key] !== null));
  const width = target.clientWidth > 700 ? Math.floor(target.clientWidth / predictors.length) - 8 : target.clientWidth;
  target.replaceChildren(...predictors.map((key) => {
    const axis = axes.get(key);
    const known = rows.filter((each) => each[key] !== null);
    const at = {x: (each) => drawn(axis, each[key]), y: (each) => 100 * each.test};
    return Plot.plot({
      width: Math.max(260, width), height: 250, marginLeft: 46, marginBottom: 40, ariaLabel: `Test accuracy against ${axis.label}`,
      x: {grid: true, inset: 16, ticks: 4, label: labelled(axis)}, y: {grid: true, inset: 12, ticks: 5, label: `${axes.get("test").label} (%)`},
      marks: [
        Plot.dot(known, {...at, r: 5, fill: (each) => (each.chosenBy.startsWith("score") ? "var(--c0)" : "var(--c1)"), title: (each) => `${each.name}, ${chosen(each)}`}),
        Plot.text(known.filter((each) => each.rank), {...at, text: (each) => String(each.rank), dx: 9, dy: -8, fill: "var(--ink)"}),
      ],
    });
  }));
  const table = rows.map((each) => [each.name, ...predictors.map((key) => shown(axes.get(key), each[key])), shown({is_share: true}, each.test)]);
  return tableBelow("Predictors and test accuracy of the trained networks", ["Network", ...predictors.map((key) => axes.get(key).label), "Test accuracy"], table, [1, 2, 3, 4]);
}

/** Mean scores by value of each decision: a row of charts per kind, a chart per stage, all of a row to one scale. */
function drawEffects(target) {
  const axis = axes.get("score");
  const kinds = [...new Set(data.effects.map((each) => each.kind))];
  target.replaceChildren(...kinds.map((kind) => {
    const decisions = data.effects.filter((each) => each.kind === kind);
    const ends = decisions.flatMap(({effects}) => effects.flatMap(({mean, error}) => [mean - (error ?? 0), mean + (error ?? 0)]));
    const range = [drawn(axis, Math.min(...ends)), drawn(axis, Math.max(...ends))];
    const charts = decisions.map((decision) => effectChart(axis, decision, range));
    return element("div", {class: "effect"}, element("h4", {}, kind.replaceAll("_", " ")), element("div", {class: "three"}, ...charts));
  }));
}

function effectChart(axis, {stage, kind, effects}, range) {
  const letters = Math.max(...effects.map((each) => each.value.length)), long = letters > 4;
  const at = (each) => drawn(axis, each.mean), error = (each) => drawn(axis, each.error ?? 0);
  return Plot.plot({
    width: 66 + effects.length * (long || letters < 3 ? 28 : 38), height: long ? 210 : 170, marginTop: 22, marginLeft: 54, marginBottom: long ? 66 : 26, marginRight: 6,
    ariaLabel: `Mean score by ${kind} of stage ${stage}`,
    fx: {label: null, tickFormat: () => `stage ${stage}`},
    x: {type: "point", label: null, padding: 0.6, domain: effects.map((each) => each.value), tickRotate: long ? -35 : 0, tickFormat: (value) => (value.length > 12 ? `${value.slice(0, 11)}…` : value)},
    y: {grid: true, label: null, ticks: 4, inset: 6, domain: range, tickFormat: axis.is_share ? (value) => `${value} %` : undefined},
    marks: [
      Plot.frame({stroke: "var(--line)"}),
      Plot.ruleX(effects, {fx: () => stage, x: "value", y1: (each) => at(each) - error(each), y2: (each) => at(each) + error(each), stroke: "var(--quiet)", strokeWidth: 2}),
      Plot.dot(effects, {fx: () => stage, x: "value", y: at, r: 4, fill: "var(--c0)", title: (each) => `${each.value}: ${shown(axis, each.mean)}, ${each.trials} trials`}),
    ],
  });
}
