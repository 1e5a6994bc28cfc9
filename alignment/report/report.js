"use strict";
// The page is complete without this: here it becomes sortable, filterable, and its pictures comparable on one another.

const MODES = { blink: ["Blink", "b"], slider: ["Slider", "s"], blurred: ["Blurred", "1"], sharp: ["Sharp", "2"], difference: ["Difference", "d"] };
const LAYERS = { mask: ["Mask", "m"], tiles: ["Residual shifts", "r"] };
const DETAIL_KEY = "z";
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const byId = (id) => document.getElementById(id);
const collator = new Intl.Collator(undefined, { numeric: true });

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---- table: sort and filter; the pairs below follow it

const body = document.querySelector("#list tbody");
const rows = [...body.rows];
const sections = new Map([...document.querySelectorAll(".pair")].map((section) => [section.id, section]));
const shown = { verdict: "", kind: "" };

function cellValue(row, column, numeric) {
  const text = row.cells[column].firstChild?.textContent.trim() ?? "";
  if (!numeric) return row.cells[column].textContent;
  return text === "yes" ? 1 : text === "no" ? 0 : Number.parseFloat(text); // NaN where there was nothing to measure
}

function sortBy(head) {
  const numeric = head.dataset.sort === "number", column = head.cellIndex;
  const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const keyed = rows.map((row) => [cellValue(row, column, numeric), row]);
  keyed.sort(([a], [b]) => {
    if (!numeric) return direction * collator.compare(a, b);
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // what was not measured comes last
    return direction * (a - b);
  });
  body.append(...keyed.map(([, row]) => row));
  byId("pairs").append(...keyed.map(([, row]) => sections.get(row.dataset.pair)));
}

function applyFilter() {
  let count = 0;
  for (const row of rows) {
    const hidden = (shown.verdict && row.dataset.verdict !== shown.verdict) || (shown.kind && row.dataset.kind !== shown.kind);
    row.hidden = sections.get(row.dataset.pair).hidden = Boolean(hidden);
    count += !hidden;
  }
  byId("shown").textContent = count === rows.length ? `${count} pairs` : `${count} of ${rows.length} pairs`;
  for (const button of document.querySelectorAll("[data-show]")) button.setAttribute("aria-pressed", String(button.dataset.show === shown.verdict && !shown.kind));
  for (const button of document.querySelectorAll(".kinds button")) button.setAttribute("aria-pressed", String(button.dataset.of === shown.kind));
}

function show(verdict, kind = "") {
  shown.verdict = verdict;
  shown.kind = kind;
  applyFilter();
}

for (const head of document.querySelectorAll("#list thead th")) {
  const button = make("button", { type: "button" }, ...head.childNodes);
  button.addEventListener("click", () => sortBy(head));
  head.append(button);
}
const verdicts = make("span", { className: "group" });
verdicts.setAttribute("role", "group");
verdicts.setAttribute("aria-label", "Pairs to show");
for (const [verdict, word] of [["", "All"], ["reject", "Rejected"], ["accept", "Accepted"]]) {
  const button = make("button", { type: "button", textContent: word });
  button.dataset.show = verdict;
  button.addEventListener("click", () => show(verdict));
  verdicts.append(button, " ");
}
const count = make("span", { id: "shown", className: "muted" });
count.setAttribute("role", "status");
byId("controls").prepend(verdicts);
byId("controls").append(count);
for (const head of document.querySelectorAll(".kinds [data-kind]")) {
  const kind = head.dataset.kind;
  const button = make("button", { type: "button", title: "Show these pairs only" }, ...head.childNodes);
  button.dataset.of = kind;
  button.addEventListener("click", () => (shown.kind === kind ? show("") : show("reject", kind)));
  head.append(button);
}
applyFilter();

// ---- stage: blurred and sharp of a pair on one another, made when the pair comes into view

class Stage {
  constructor(section) {
    this.section = section;
    this.layers = new Set();
    this.detail = false;
    this.swapped = false;
    this.split = 50;
    const views = section.querySelector(".views"), twins = views.querySelector(".twins");
    const images = [...twins.querySelectorAll("img")];
    this.images = Object.fromEntries(images.map((image) => [image.className, image]));
    for (const kind of ["after", "tiles"]) this.images[kind] = views.querySelector(`.figures .${kind}`).cloneNode();
    this.first = make("span", { className: "tag first" });
    this.second = make("span", { className: "tag second" });
    this.divider = make("span", { className: "divider" });
    this.element = make("div", { className: "stage", tabIndex: 0 });
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", `Comparison of ${section.querySelector("h3 a").textContent}`);
    this.element.style.aspectRatio = twins.dataset.ratio;
    for (const kind of ["blurred", "sharp", "after", "blurred-detail", "sharp-detail", "mask", "tiles"]) {
      this.images[kind].loading = "eager";
      this.element.append(this.images[kind]);
    }
    this.element.append(this.divider, this.first, this.second);
    this.element.addEventListener("pointerdown", (event) => this.point(event));
    this.element.addEventListener("pointermove", (event) => event.buttons && this.point(event));
    this.slider = make("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, className: "split" });
    this.slider.setAttribute("aria-label", "Divider between blurred and sharp");
    this.slider.addEventListener("input", () => this.setSplit(Number(this.slider.value)));
    twins.replaceChildren(this.toolbar(), this.element, this.slider);
    twins.classList.add("staged");
    this.setMode("slider");
  }

  toolbar() {
    const modes = make("span", { className: "group" });
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "View");
    this.modeButtons = Object.entries(MODES).map(([mode, [word, key]]) => {
      const button = make("button", { type: "button", textContent: word, title: `${word} (${key.toUpperCase()})` });
      button.dataset.mode = mode;
      button.addEventListener("click", () => this.setMode(mode));
      return button;
    });
    modes.append(...this.modeButtons);
    this.boxes = {};
    const ticks = Object.entries(LAYERS).map(([layer, [word, key]]) => this.tick(word, key, () => this.toggleLayer(layer), layer));
    ticks.push(this.tick("Detail, pixel by pixel", DETAIL_KEY, () => this.toggleDetail(), "detail"));
    return make("div", { className: "toolbar" }, modes, ...ticks);
  }

  tick(word, key, act, name) {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", act);
    this.boxes[name] = box;
    return make("label", { title: `${word} (${key.toUpperCase()})` }, box, word);
  }

  setMode(mode) {
    clearInterval(this.blinking);
    this.mode = mode;
    this.swapped = false;
    if (mode === "blink") this.blinking = setInterval(() => { this.swapped = !this.swapped; this.draw(); }, calm.matches ? 1000 : 450);
    if (mode === "difference" && this.detail) this.toggleDetail();
    this.draw();
  }

  toggleLayer(layer) {
    this.layers.has(layer) ? this.layers.delete(layer) : this.layers.add(layer);
    this.draw();
  }

  toggleDetail() {
    this.detail = !this.detail;
    if (this.detail && this.mode === "difference") this.setMode("blink");
    this.draw();
  }

  hold(swapped) {
    if (this.mode === "blink" || this.swapped === swapped) return;
    this.swapped = swapped;
    this.draw();
  }

  setSplit(percent) {
    this.split = Math.max(0, Math.min(100, percent));
    this.slider.value = this.split;
    this.draw();
  }

  point(event) {
    if (this.mode !== "slider") return;
    const box = this.element.getBoundingClientRect();
    this.setSplit((100 * (event.clientX - box.left)) / box.width);
  }

  draw() {
    const suffix = this.detail ? "-detail" : "";
    let [front, back] = this.mode === "sharp" ? ["sharp", "blurred"] : ["blurred", "sharp"];
    if (this.swapped) [front, back] = [back, front];
    const both = this.mode === "slider", on = new Set();
    if (this.mode === "difference") on.add("after");
    else on.add(front + suffix);
    if (both) on.add(back + suffix);
    if (!this.detail) for (const layer of this.layers) on.add(layer);
    for (const [kind, image] of Object.entries(this.images)) {
      image.classList.toggle("on", on.has(kind));
      image.style.clipPath = both && kind === back + suffix ? `inset(0 0 0 ${this.split}%)` : both && kind === front + suffix ? `inset(0 ${100 - this.split}% 0 0)` : "";
    }
    this.element.dataset.mode = this.mode;
    this.element.dataset.front = this.mode === "difference" ? "after" : front;
    this.first.textContent = this.mode === "difference" ? "difference" : front;
    this.second.textContent = both ? back : "";
    this.divider.hidden = this.slider.disabled = !both;
    this.slider.classList.toggle("off", !both); // its room stays, so that nothing jumps
    this.divider.style.left = `${this.split}%`;
    for (const button of this.modeButtons) button.setAttribute("aria-pressed", String(button.dataset.mode === this.mode));
    for (const layer of Object.keys(LAYERS)) {
      this.boxes[layer].checked = this.layers.has(layer);
      this.boxes[layer].disabled = this.detail;
    }
    this.boxes.detail.checked = this.detail;
  }

  stop() {
    if (this.mode === "blink") this.setMode("slider");
  }
}

const stages = new Map();
function stageOf(section) {
  if (!stages.has(section) && section.querySelector(".views")) stages.set(section, new Stage(section));
  return stages.get(section);
}
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) stageOf(entry.target);
    else stages.get(entry.target)?.stop(); // nothing blinks unseen
  }
}, { rootMargin: "300px" });
for (const section of sections.values()) watcher.observe(section);

// ---- keys, told once above the pairs: they mean the pair with the focus, else the one in the middle of the window

function currentSection() {
  const focused = document.activeElement?.closest(".pair");
  if (focused) return focused;
  const middle = innerHeight / 2;
  return visibleSections().find((section) => {
    const box = section.getBoundingClientRect();
    return box.top <= middle && box.bottom >= middle;
  });
}

function visibleSections() {
  return [...byId("pairs").children].filter((section) => !section.hidden);
}

function step(by) {
  const list = visibleSections(), at = list.indexOf(currentSection());
  const next = list[at < 0 ? (by > 0 ? 0 : -1) : at + by];
  if (!next) return;
  next.scrollIntoView({ block: "start" });
  stageOf(next)?.element.focus({ preventScroll: true });
}

const keys = make("p", { id: "keys" }, "Keys, for the pair in view:");
for (const [word, key] of [
  ...[...Object.values(MODES), ...Object.values(LAYERS)].map(([name, key]) => [name.toLowerCase(), key]),
  ["detail", DETAIL_KEY], ["while held: the other picture", "space"], ["next", "j"], ["previous", "k"],
]) keys.append(make("span", {}, make("kbd", { textContent: key.length === 1 ? key.toUpperCase() : key }), ` ${word}`));
if (sections.size) byId("pairs").before(keys);

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), select, summary, a")) return;
  const key = event.key.toLowerCase();
  if (key === "j" || key === "k") return step(key === "j" ? 1 : -1);
  const section = currentSection(), stage = section && stageOf(section);
  if (!stage) return;
  const mode = Object.keys(MODES).find((name) => MODES[name][1] === key);
  const layer = Object.keys(LAYERS).find((name) => LAYERS[name][1] === key);
  if (mode) stage.setMode(mode);
  else if (layer) stage.toggleLayer(layer);
  else if (key === DETAIL_KEY) stage.toggleDetail();
  else if (key === " " && event.target === stage.element) { stage.hold(true); event.preventDefault(); }
});
addEventListener("keyup", (event) => { if (event.key === " ") for (const stage of stages.values()) stage.hold(false); });
document.body.dataset.ready = "true";
