// The side panel: search, ticks with counts, ranges of measures.

import { byId, make, readable, title } from "./dom.js";
import { VERDICT_WORDS } from "./model.js";

const GROUPS = [
  ["verdict", "Verdict"],
  ["split", "Split"],
  ["mask", "Mask"],
  ["reason", "Reasons"],
  ["by", "Decided by"],
  ["scene", "Scenes"],
];
const BARS = 24;

export class Filters {
  constructor(model) {
    this.model = model;
    this.panel = byId("filters");
    this.build();
    model.addEventListener("areas", () => this.buildRanges());
    model.addEventListener("row", () => this.countLater());
  }

  build() {
    this.search = make("input", {
      type: "search", id: "search", placeholder: "Scene, name, note …", "aria-label": "Search", input: () => {
        this.model.filter.text = this.search.value;
        this.model.refresh();
      },
    });
    this.clear = make("button", { type: "button", id: "clear-filters", click: () => this.reset() }, "Clear filters");
    this.groups = make("div", {});
    this.ranges = make("div", {});
    this.panel.replaceChildren(this.search, this.clear, this.groups, make("h2", {}, "Measures"), this.ranges);
    this.buildGroups();
    this.buildRanges();
  }

  buildGroups() {
    this.groups.replaceChildren(...GROUPS.map(([group, words]) => this.group(group, words)).filter(Boolean));
  }

  group(group, words) {
    const counts = [...this.model.counts(group)];
    if (!counts.length || (counts.length < 2 && group !== "verdict")) return null;
    if (group === "reason") counts.sort((a, b) => b[1] - a[1]);
    else if (group !== "scene") counts.sort((a, b) => a[0].localeCompare(b[0]));
    const chosen = this.model.filter.sets[group];
    const rows = counts.map(([key, count]) => {
      const box = make("input", {
        type: "checkbox", "data-group": group, "data-key": key, change: () => {
          if (box.checked) chosen.add(key);
          else chosen.delete(key);
          this.model.refresh();
        },
      });
      box.checked = chosen.has(key);
      const shown = group === "verdict" ? VERDICT_WORDS[key] : key;
      const dot = group === "verdict" ? make("span", { class: `dot ${key}`, "aria-hidden": "true" }) : null;
      return make("label", { class: "tick" }, box, dot, make("span", { class: "words", title: shown }, shown),
        make("span", { class: "count" }, String(count)));
    });
    return make("fieldset", {}, make("legend", {}, words), make("div", { class: "ticks" }, ...rows));
  }

  countLater() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      for (const [group] of GROUPS) this.recount(group);
    }, 150);
  }

  recount(group) {
    const counts = this.model.counts(group);
    const boxes = [...this.groups.querySelectorAll(`input[data-group="${group}"]`)];
    const known = new Set(boxes.map((box) => box.dataset.key));
    if ([...counts.keys()].some((key) => !known.has(key)) && !this.groups.contains(document.activeElement)) {
      this.buildGroups();
      return;
    }
    for (const box of boxes) box.parentElement.lastChild.textContent = String(counts.get(box.dataset.key) ?? 0);
  }

  buildRanges() {
    const open = new Set([...this.ranges.querySelectorAll("details[open]")].map((found) => found.dataset.key));
    this.ranges.replaceChildren(...this.model.measures.map((key) => this.range(key, open.has(key))).filter(Boolean));
  }

  range(key, open) {
    const values = this.model.pairs.map((pair) => pair.values[key]).filter((value) => value !== null && value !== undefined);
    if (!values.length) return null;
    const least = values.reduce((a, b) => Math.min(a, b)), most = values.reduce((a, b) => Math.max(a, b));
    const limits = this.model.filter.ranges.get(key) ?? [-Infinity, Infinity];
    const inputs = ["from", "to"].map((word, end) => make("input", {
      type: "number", step: "any", "aria-label": `${title(key)} ${word}`, placeholder: readable(end ? most : least),
      value: Number.isFinite(limits[end]) ? limits[end] : null, input: () => {
        const numbers = inputs.map((input) => (input.value === "" ? null : Number(input.value)));
        if (numbers.every((number) => number === null)) this.model.filter.ranges.delete(key);
        else this.model.filter.ranges.set(key, [numbers[0] ?? -Infinity, numbers[1] ?? Infinity]);
        details.classList.toggle("active", this.model.filter.ranges.has(key));
        this.model.refresh();
      },
    }));
    const details = make("details", { "data-key": key, open, class: this.model.filter.ranges.has(key) ? "active" : null },
      make("summary", {}, title(key)), histogram(values, least, most),
      make("div", { class: "limits" }, inputs[0], make("span", {}, "to"), inputs[1]));
    return details;
  }

  reset() {
    this.search.value = "";
    this.model.clearFilter();
    this.buildGroups();
    this.buildRanges();
  }
}

function histogram(values, least, most) {
  const counts = new Array(BARS).fill(0);
  for (const value of values) counts[Math.min(BARS - 1, Math.floor((BARS * (value - least)) / (most - least || 1)))] += 1;
  const high = Math.max(...counts);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${BARS} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "histogram");
  svg.setAttribute("aria-hidden", "true");
  counts.forEach((count, index) => {
    if (!count) return;
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = Math.max(0.6, (10 * count) / high);
    for (const [name, value] of Object.entries({ x: index + 0.05, y: 10 - height, width: 0.9, height })) bar.setAttribute(name, value);
    svg.append(bar);
  });
  return svg;
}
