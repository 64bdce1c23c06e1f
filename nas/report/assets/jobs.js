// Draws what a page has places for, the first at once and the rest when the browser has time.
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

/** Draws charts one after another, so that the page answers between them; `done` is called after the last. */
function drawFrom(first, done) {
  if (first >= jobs.length) { done(); return; }
  jobs[first]();
  setTimeout(() => drawFrom(first + 1, done));
}

/** Draws all that was asked for, again at every change of the page's width. */
function drawPage() {
  let width = innerWidth, waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => drawFrom(0, () => {}), 150);
  });
  drawFrom(0, () => { document.documentElement.dataset.drawn = "all"; });
}
