// What the page of a run draws, and its buttons.
const cards = [...document.querySelectorAll(".card .drawing")];
const placeOf = new Map(columns.number.map((number, place) => [number, place]));

keepDrawn("winners", () => {
  drawAll(cards.map((card) => {
    if (card.dataset.rival) return [card, card.dataset.name, stagesAt(data.rivals[card.dataset.rival])];
    const place = placeOf.get(Number(card.dataset.trial));
    return place === undefined ? [card, "", null] : [card, nameOf(place), stagesOf(place)];
  }));
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

drawPage();
