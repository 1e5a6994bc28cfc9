// Puts the page together.

import { byId, make, say, title } from "./dom.js";
import { Filters } from "./filters.js";
import { Keys } from "./keys.js";
import { List } from "./list.js";
import { Model, VERDICTS, VERDICT_WORDS } from "./model.js";
import { showStatistics } from "./statistics.js";
import { MODES } from "./stage.js";
import { Viewer } from "./viewer.js";

const MANY = 20; // verdicts about more pairs at once are asked back

const begun = performance.now();
history.replaceState(null, "", location.pathname + location.hash); // the token has done its work: out of sight

try {
  await start();
} catch (error) {
  say(error.message, "error");
  byId("summary").textContent = error.message;
}

async function start() {
  const model = await Model.load();
  const filters = new Filters(model), list = new List(model), viewer = new Viewer(model, list);
  document.title = `${model.file.name} – view-dataset`;
  byId("file-name").textContent = model.file.name;
  byId("file-name").title = [model.file.path, model.file.creator, model.file.source, model.file.licence, model.file.pixels].filter(Boolean).join("\n");
  byId("who").textContent = model.file.read_only ? "looking only" : `edits by ${model.file.user}`;
  summaries(model);
  order(model, list);
  layout(list);
  list.addEventListener("open", (event) => viewer.open(event.detail));
  list.addEventListener("rest", (event) => viewer.pictures.prefetch(event.detail)); // likely to be opened next
  viewer.addEventListener("closed", () => {
    history.replaceState(null, "", location.pathname);
    list.redraw();
    list.reveal();
    byId("list").focus();
  });
  byId("clear-from-empty").addEventListener("click", () => filters.reset());
  byId("open-statistics").addEventListener("click", showStatistics);
  const keys = new Keys(bindings(model, list, viewer, filters), () => (viewer.isOpen ? "pair" : "list"));
  byId("open-help").addEventListener("click", () => keys.showHelp());
  addEventListener("beforeunload", (event) => { if (viewer.brush.unsaved) event.preventDefault(); });
  byId("list").focus();
  const opened = location.hash.match(/^#pair=(\d+)$/);
  if (opened && model.pairs[Number(opened[1])]) viewer.open(Number(opened[1]));
  document.body.dataset.ready = (performance.now() - begun).toFixed(0);
  await model.loadAreas();
  document.body.dataset.complete = "yes";
}

function summaries(model) {
  const show = () => {
    const counts = model.counts("verdict");
    const stale = model.stale;
    byId("summary").replaceChildren(
      `${model.shown.length === model.pairs.length ? "" : `${model.shown.length} of `}${model.pairs.length} pairs`,
      ...VERDICTS.map((verdict) => make("span", { class: "tally" }, make("span", { class: `dot ${verdict}`, "aria-hidden": "true" }), `${counts.get(verdict) ?? 0} ${VERDICT_WORDS[verdict]}`)),
      ...(stale ? [make("button", { type: "button", class: "quiet", id: "refresh", click: () => model.refresh() }, `${stale} no longer match: refresh`)] : []));
  };
  let waiting = 0;
  const later = () => { waiting ||= requestAnimationFrame(() => { waiting = 0; show(); }); };
  for (const type of ["shown", "row"]) model.addEventListener(type, later);
  show();
}

function order(model, list) {
  const select = byId("sort-key"), direction = byId("sort-direction");
  const fill = () => {
    select.replaceChildren(...["", "verdict", "mask", "note", "reasons", ...model.measures].map((key) => make("option", { value: key }, key ? title(key) : "file order")));
    select.value = model.sort.key;
    direction.textContent = model.sort.descending ? "descending" : "ascending";
  };
  const sort = (key, descending) => {
    model.sort = { key, descending };
    fill();
    model.refresh();
  };
  select.addEventListener("change", () => sort(select.value, model.sort.descending));
  direction.addEventListener("click", () => sort(model.sort.key, !model.sort.descending));
  byId("table-head").addEventListener("click", (event) => {
    const key = event.target.closest("button")?.dataset.sort;
    if (key) sort(key, model.sort.key === key && !model.sort.descending);
    if (key) list.layOut();
  });
  model.addEventListener("areas", fill);
  fill();
}

function layout(list) {
  const set = (table) => {
    list.setTable(table);
    byId("layout-grid").setAttribute("aria-pressed", String(!table));
    byId("layout-table").setAttribute("aria-pressed", String(table));
  };
  byId("layout-grid").addEventListener("click", () => set(false));
  byId("layout-table").addEventListener("click", () => set(true));
  byId("thumb-masks").addEventListener("click", () => {
    list.setMasks(!list.masks);
    byId("thumb-masks").setAttribute("aria-pressed", String(list.masks));
  });
}

/** A verdict about the selected pairs, or the current one. */
async function decideInList(model, list, verdict) {
  if (model.file.read_only) return say("the file is open for looking only", "error");
  const numbers = list.targets, alone = !list.selected.size;
  if (!numbers.length) return;
  if (numbers.length > MANY && !confirm(`${numbers.length} pairs: ${VERDICT_WORDS[verdict]}?`)) return;
  try {
    await model.decide(numbers, verdict);
    say(`${numbers.length === 1 ? model.pairs[numbers[0]].name : `${numbers.length} pairs`}: ${VERDICT_WORDS[verdict]}`);
    if (alone) list.move(1, 0);
  } catch (error) {
    say(error.message, "error");
  }
}

async function takeBack(model) {
  try {
    const numbers = await model.undo();
    say(numbers.length ? `taken back: ${numbers.length === 1 ? model.pairs[numbers[0]].name : `${numbers.length} pairs`}` : "nothing to take back");
  } catch (error) {
    say(error.message, "error");
  }
}

function bindings(model, list, viewer, filters) {
  const { stage } = viewer;
  const verdicts = (act) => [["a", "accept"], ["r", "reject"], ["u", "undecided"]].map(([key, verdict]) =>
    ({ keys: [key], shown: key.toUpperCase(), words: VERDICT_WORDS[verdict], act: () => act(verdict) }));
  const inList = [
    { keys: ["ArrowLeft", "Shift+ArrowLeft"], shown: "← → ↑ ↓", words: "move; with Shift select", act: (event) => list.move(-1, 0, event.shiftKey) },
    { keys: ["ArrowRight", "Shift+ArrowRight"], act: (event) => list.move(1, 0, event.shiftKey) },
    { keys: ["ArrowUp", "Shift+ArrowUp"], act: (event) => list.move(0, -1, event.shiftKey) },
    { keys: ["ArrowDown", "Shift+ArrowDown"], act: (event) => list.move(0, 1, event.shiftKey) },
    { keys: ["PageUp"], shown: "PgUp PgDn", words: "a page up or down", act: () => list.page(-1) },
    { keys: ["PageDown"], act: () => list.page(1) },
    { keys: ["Home"], shown: "Home End", words: "first or last pair", act: () => list.go(0) },
    { keys: ["End"], act: () => list.go(model.shown.length - 1) },
    { keys: ["Enter", " "], shown: "Enter", words: "look at the pair (or click it)", act: () => list.open() },
    ...verdicts((verdict) => decideInList(model, list, verdict)),
    { keys: ["Control+a"], shown: "Ctrl+A", words: "select all that are shown (Ctrl or Shift and click: some)", act: () => list.selectAll() },
    { keys: ["Escape"], shown: "Esc", words: "select none", act: () => list.selectNone() },
    { keys: ["Control+z"], shown: "Ctrl+Z", words: "take the last verdict back", act: () => takeBack(model) },
    { keys: ["t"], shown: "T", words: "thumbnails or table", act: () => byId(list.table ? "layout-grid" : "layout-table").click() },
    { keys: ["m"], shown: "M", words: "masks on thumbnails", act: () => byId("thumb-masks").click() },
    { keys: ["o"], shown: "O", words: "turn the order round", act: () => byId("sort-direction").click() },
    { keys: ["/"], shown: "/", words: "search", act: () => filters.search.focus() },
    { keys: ["s"], shown: "S", words: "statistics", act: showStatistics },
  ];
  const withPair = [
    { keys: ["ArrowRight", "j"], shown: "→ ←", words: "next or previous pair (also J, K)", act: () => viewer.step(1) },
    { keys: ["ArrowLeft", "k"], act: () => viewer.step(-1) },
    ...verdicts((verdict) => viewer.decide(verdict)),
    { keys: ["n"], shown: "N", words: "write a note; Enter saves, Esc does not", act: () => byId("note").focus() },
    ...MODES.map((mode, index) => ({ keys: [String(index + 1)], shown: String(index + 1), words: mode, act: () => viewer.setMode(mode) })),
    { keys: [" "], shown: "Space", words: "the other picture, as long as it is held", act: () => stage.hold(true), up: () => stage.hold(false) },
    { keys: [","], shown: ", .", words: "slider to the left or right", act: () => stage.setSplit(stage.split - 0.02) },
    { keys: ["."], act: () => stage.setSplit(stage.split + 0.02) },
    { keys: ["d"], shown: "D", words: "difference stronger: × 1, 2, 4, 8, 16", act: () => { stage.gain = stage.gain >= 16 ? 1 : 2 * stage.gain; viewer.setMode("difference"); } },
    { keys: ["m"], shown: "M", words: "mask: off, tint, outline", act: () => viewer.nextMaskMode() },
    { keys: ["+", "="], shown: "+ -", words: "zoom (also the wheel)", act: () => stage.zoom(1.5) },
    { keys: ["-"], act: () => stage.zoom(1 / 1.5) },
    { keys: ["z", "0"], shown: "Z", words: "fit or 100 %", act: () => stage.toggleFit() },
    { keys: ["b"], shown: "B", words: "brush: add to the mask (Alt and drag moves the picture)", act: () => viewer.setTool("brush") },
    { keys: ["e"], shown: "E", words: "eraser: take from the mask", act: () => viewer.setTool("eraser") },
    { keys: ["["], shown: "[ ]", words: "smaller or larger brush", act: () => viewer.resizeBrush(1 / 1.25) },
    { keys: ["]"], act: () => viewer.resizeBrush(1.25) },
    { keys: ["Control+z"], shown: "Ctrl+Z", words: "take the last stroke back, or else the last verdict", act: () => viewer.undo() },
    { keys: ["Control+Shift+z", "Control+y"], shown: "Ctrl+Shift+Z", words: "do it again", act: () => viewer.redo() },
    { keys: ["Escape"], shown: "Esc", words: "put the brush down, or back to the list", act: () => (viewer.tool ? viewer.setTool(null) : viewer.close()) },
  ];
  const everywhere = [{ keys: ["?"], shown: "?", words: "these keys", act: () => byId("open-help").click() }];
  const at = (where, found) => found.map((binding) => ({ where, ...binding }));
  return [...at("everywhere", everywhere), ...at("list", inList), ...at("pair", withPair)];
}
