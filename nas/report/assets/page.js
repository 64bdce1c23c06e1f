// Draws what the page has places for, the first section at once and the rest when the browser has time.
const jobs = [];

/** Has a place drawn now and whenever the page changes its width; what `draw` returns is put below it, once. */
function keepDrawn(id, draw) {
  const target = document.getElementById(id);
  if (!target) return;
  let below = null;
  jobs.push(() => {
    const table = draw(target);
    if (table && !below) target.after((below = table));
  });
}

const cards = [...document.querySelectorAll(".drawing[data-trial]")];
const placeOf = new Map(columns.number.map((number, place) => [number, place]));

keepDrawn("winners", () => {
  drawAll(cards.map((card) => [card, placeOf.get(Number(card.dataset.trial))]).filter(([, place]) => place !== undefined));
});
keepDrawn("accuracies", drawAccuracies);
if (columns.number.length) {
  keepDrawn("front-plot", drawFront);
  keepDrawn("progress", drawProgress);
}
keepDrawn("ranking", drawRanking);
keepDrawn("effects", drawEffects);
data.curves.forEach((chart, i) => keepDrawn(`curves-${i}`, (target) => drawCurves(target, chart)));
keepDrawn("method-curves", (target) => drawCurves(target, data.methodCurves));

/** Draws charts one after another, so that the page answers between them; `done` is called after the last. */
function drawFrom(first, done) {
  if (first >= jobs.length) { done(); return; }
  jobs[first]();
  setTimeout(() => drawFrom(first + 1, done));
}

if (front.across) {
  const options = (chosen) => data.axes.map((axis) => element("option", {value: axis.key, selected: axis.key === chosen}, axis.label));
  front.across.append(...options(data.objective));
  front.up.append(...options("score"));
  for (const select of [front.across, front.up]) select.addEventListener("change", drawFront);
  document.getElementById("front-legend").append(groupLegend());
}

for (const block of document.querySelectorAll("pre[data-copy]")) {
  const around = element("div", {class: "copyable"});
  block.replaceWith(around);
  around.append(block, copyButton("Copy", block.textContent, () => block));
}

let width = innerWidth, waiting = 0;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => drawFrom(0, () => {}), 150);
});
drawFrom(0, () => { document.documentElement.dataset.drawn = "all"; });
