// A network drawn to scale: a rectangle per layer, as high as its map and as wide as its channels.
const KINDS = {C: "convolution", A: "attention", M: "state-space"};
const TALLEST = 92, GAP = 2, SLOT = 58, BETWEEN = 16;

/** Pixels per channel such that stages fit into a width, where each has room for its words. */
function channelScale(stages, room) {
  const total = (scale) => stages.reduce((sum, stage) => sum + slotWidth(stage, scale), 0);
  let low = 0, high = 2;
  if (total(high) <= room) return high;
  for (let i = 0; i < 30; i++) {
    const middle = (low + high) / 2;
    if (total(middle) <= room) low = middle; else high = middle;
  }
  return low;
}

const layerWidth = (stage, scale) => Math.max(1.5, (stage.width ?? 16) * scale);
const blockWidth = (stage, scale) => stage.depth * (layerWidth(stage, scale) + GAP);
const slotWidth = (stage, scale) => Math.max(SLOT, blockWidth(stage, scale) + BETWEEN);

/** The drawing of stages; `scale` has pixels per channel, `side` is the side of the largest map that is drawn. */
function drawNetwork(stages, {scale, side, label}) {
  const drawing = svg("svg", {role: "img", "aria-label": `${label}: ${stages.map(stageWords).join("; ")}`, class: "network"});
  let x = 0;
  stages.forEach((stage, i) => {
    const height = Math.max(3, (TALLEST * (stage.height ?? side)) / side);
    const group = svg("g", {}, titled(`Stage ${i + 1}: ${stageWords(stage)}. ${opWords(stage)}`));
    for (let layer = 0; layer < stage.depth; layer++) {
      const letter = stage.letters[stage.letters.length > 1 ? layer : 0] ?? "C";
      const left = x + layer * (layerWidth(stage, scale) + GAP);
      group.append(rectangle(left, height, layerWidth(stage, scale), letter));
    }
    [
      stage.letters.length > 1 ? short(stage.letters) : `${stage.depth} × ${stage.letters}`,
      stage.width === null ? "" : `${stage.width} ch`,
      stage.height === null ? "" : `${stage.height}×${stage.across}`,
    ].forEach((line, n) => group.append(words(line, x, TALLEST + 16 + 14 * n, n)));
    drawing.append(group);
    x += slotWidth(stage, scale);
  });
  const height = TALLEST + 50;
  drawing.setAttribute("viewBox", `0 0 ${Math.ceil(x)} ${height}`);
  drawing.setAttribute("width", Math.ceil(x));
  drawing.setAttribute("height", height);
  return drawing;
}

const short = (letters) => (letters.length > 9 ? `${letters.slice(0, 8)}…` : letters);

function rectangle(x, height, width, letter) {
  const top = (TALLEST - height) / 2;
  const kind = letter in KINDS ? letter : "C";
  const group = svg("g", {class: `layer ${kind}`}, svg("rect", {x, y: top, width, height, rx: Math.min(2, width / 3)}));
  if (width >= 11 && height >= 12) {
    const text = svg("text", {x: x + width / 2, y: TALLEST / 2 + 4, "text-anchor": "middle", "aria-hidden": "true"}, letter);
    group.append(text);
  }
  return group;
}

function titled(text) {
  return svg("title", {}, text);
}

function words(text, x, y, line) {
  return svg("text", {x, y, class: line ? "quiet" : "", "aria-hidden": "true"}, text);
}

/** Draws networks into their places, all to one scale, so that they can be compared. */
function drawAll(targets) {
  const known = targets.filter(([, , stages]) => stages);
  if (!known.length) return;
  const room = Math.min(...known.map(([target]) => target.clientWidth));
  const scale = Math.min(...known.map(([, , stages]) => channelScale(stages, room)));
  const side = Math.max(...known.flatMap(([, , stages]) => stages.map((stage) => stage.height ?? 1)));
  for (const [target, label, stages] of known) {
    target.replaceChildren(drawNetwork(stages, {scale, side, label}));
  }
}
