// Elements of the page. Text is always set as text, never as HTML: it comes from the run.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";
function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A table with a caption for screen readers; `numeric` has the places of columns of numbers. */
function tableOf(caption, headers, rows, numeric = []) {
  const kind = (column) => (numeric.includes(column) ? "n" : null);
  const head = headers.map((header, i) => element("th", {scope: "col", class: kind(i)}, header));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, i) => element("td", {class: kind(i)}, cell))));
  return element(
    "div", {class: "wide"},
    element(
      "table", {class: "rows"}, element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body),
    ),
  );
}

/** The figures of a chart as a table, closed until it is asked for. */
const tableBelow = (...content) => element("details", {}, element("summary", {}, "The same as a table"), tableOf(...content));

const tip = element("div", {class: "tip", role: "presentation", hidden: true});
const said = element("p", {class: "unseen", "aria-live": "polite"});
document.body.append(tip, said);

/** Shows lines beside a point of the window. */
function showTip(lines, x, y) {
  tip.replaceChildren(...lines.map((line, i) => element(i ? "div" : "strong", {}, line)));
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - height - 4))}px`;
}

const hideTip = () => { tip.hidden = true; };

/** Copies text; where the browser refuses, as on pages of some mail programs, the text is selected instead. */
async function copy(text, source) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied.";
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    said.textContent = "The browser refuses to copy. The text is selected: press Ctrl+C.";
    return false;
  }
}

function copyButton(label, text, source) {
  const button = element("button", {type: "button"}, label);
  button.addEventListener("click", async () => {
    const done = await copy(text, source());
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = label; }, 2000);
  });
  return button;
}
