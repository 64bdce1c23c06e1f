// The run's data as the page has it, and figures and architectures as people read them.
const data = JSON.parse(document.getElementById("data").textContent);
const columns = data.columns;
const axes = new Map(data.axes.map((axis) => [axis.key, axis]));
const finalists = new Map(data.finalists.filter((each) => each.trial !== null).map((each) => [each.trial, each]));

/** Figures of all trials on the page for an axis; null where there is none. Accuracies are those of finalists. */
function values(key) {
  if (columns[key]) return columns[key];
  return columns.number.map((_, place) => finalists.get(place)?.[key] ?? null);
}

function shown(axis, value) {
  if (value === null || value === undefined) return "–";
  if (axis.is_share) return `${(100 * value).toFixed(1)} %`;
  if (axis.unit) return `${(value / axis.factor).toFixed(axis.factor === 1 ? 0 : 2)} ${axis.unit}`;
  return Number(value.toPrecision(4)).toLocaleString("en-US", {maximumSignificantDigits: 4});
}

/** The numbers that are drawn for an axis, and its label with their unit. */
const drawn = (axis, value) => (axis.is_share ? 100 * value : value / axis.factor);
function labelled(axis) {
  const unit = axis.is_share ? "%" : axis.unit;
  return unit && unit !== axis.label ? `${axis.label} (${unit})` : axis.label;
}

function plain(number) {
  const piece = data.pieces[number];
  const part = (value) => (Array.isArray(value) ? plain(value[0]) : value);
  if (Array.isArray(piece)) return piece.map(part);
  return Object.fromEntries(Object.entries(piece).map(([key, value]) => [key, part(value)]));
}

/** The stages of a trial, for drawings; null for one whose architecture the page does not have. */
function stagesOf(place) {
  const numbers = columns.architecture[place];
  return numbers ? stagesAt(numbers.slice(1)) : null;
}

function stagesAt(numbers) {
  return numbers.map((number) => {
    const [piece, letters, depth, width, height, across] = data.stages[number];
    return {piece, letters, depth, width, height, across};
  });
}

/** The architecture as plain data, in the order of keys that architecture.yaml has. */
function architectureOf(place) {
  const numbers = columns.architecture[place];
  const {head, ...rest} = plain(numbers[0]);
  return {...rest, stages: numbers.slice(1).map((number) => plain(data.stages[number][0])), head};
}

const isPlain = (value) => value === null || typeof value !== "object";

/** YAML of plain data that `nas` reads: blocks, but mappings of nothing but numbers and words in one line. */
function yaml(value, indent = "") {
  if (isPlain(value)) return scalar(value);
  if (Array.isArray(value)) {
    if (!value.length || value.every(isPlain)) return `[${value.map(scalar).join(", ")}]`;
    return value.map((item) => `\n${indent}- ${yaml(item, `${indent}  `).trimStart()}`).join("");
  }
  const entries = Object.entries(value);
  if (entries.every(([, item]) => isPlain(item))) {
    return `{${entries.map(([key, item]) => `${scalar(key)}: ${scalar(item)}`).join(", ")}}`;
  }
  return entries.map(([key, item]) => {
    const text = yaml(item, Array.isArray(item) ? indent : `${indent}  `);
    return `\n${indent}${scalar(key)}:${text.startsWith("\n") ? "" : " "}${text}`;
  }).join("");
}

// Words that YAML of any version reads as something else are quoted, as is all that JSON escapes.
const WORD = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const SPECIAL = /^(y|n|yes|no|on|off|true|false|null|nan|inf)$/i;
function scalar(value) {
  if (typeof value === "string") return WORD.test(value) && !SPECIAL.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}

const yamlOf = (place) => `${yaml(architectureOf(place)).trimStart()}\n`;
const fileOf = (place) => `trial-${columns.number[place]}.yaml`;
const commandOf = (place) => `nas train ${fileOf(place)} ${data.trainOn}`;

/** One line on a stage: what it has, how wide and large its map is. */
function stageWords(stage) {
  const layers = new Set(stage.letters).size === 1 ? `${stage.depth} ${stage.letters[0]}` : stage.letters;
  const width = stage.width === null ? "" : `, ${stage.width} channels, ${stage.height} × ${stage.across} map`;
  return `${layers} ${stage.depth === 1 ? "layer" : "layers"}${width}`;
}

/** The ops of a stage's layers with their parameters: "2 × mbconv (kernel_size 5)". */
function opWords(stage) {
  const words = ({op, ...rest}) => {
    const parts = Object.entries(rest).filter(([key, value]) => isPlain(value) && key !== "width");
    return parts.length ? `${op} (${parts.map(([key, value]) => `${key} ${value}`).join(", ")})` : op;
  };
  const found = plain(stage.piece);
  const layers = found.layers.map((layer) => {
    const text = layer.branches.map((branch) => words(branch.mixer)).join(" + ");
    return layer.repeat ? `${layer.repeat} × ${text}` : text;
  });
  return [...(found.transition ? [words(found.transition)] : []), ...layers].join("; ");
}

const layoutOf = (place) => data.layouts[columns.layout[place]] || "no layout";
const nameOf = (place) => `Trial ${columns.number[place]} · ${layoutOf(place)}`;

const chosen = ({chosenBy}) => (chosenBy.startsWith("rival") ? chosenBy : `chosen ${chosenBy.startsWith("at ") ? "" : "by "}${chosenBy}`);

/** What a trial is, in lines: for a tip, and for whoever hears it. */
function linesOf(place) {
  const stages = stagesOf(place);
  const finalist = finalists.get(place);
  const lines = [nameOf(place)];
  if (finalist) lines.push(`${finalist.rank ? `rank ${finalist.rank}, ` : ""}trained, ${chosen(finalist)}`);
  for (const axis of data.axes) {
    const value = values(axis.key)[place];
    if (value !== null) lines.push(`${axis.label}: ${shown(axis, value)}`);
  }
  if (stages) {
    lines.push(`depths ${stages.map((stage) => stage.depth).join("-")}`);
    if (stages.every((stage) => stage.width !== null)) {
      lines.push(`widths ${stages.map((stage) => stage.width).join("-")}`);
    }
  }
  return lines;
}
