// All pairs of the file, which of them are shown, and in which order.

import * as api from "./api.js";

export const VERDICTS = ["accept", "reject", "undecided"];
export const VERDICT_WORDS = { accept: "accepted", reject: "rejected", undecided: "undecided" };
export const MASK_WORDS = ["no mask", "mask by method", "mask by hand"];
export const DOUBTFUL = "doubtful mask";
const CONFIDENCE = "mask_confidence"; // beside the blurred area: both are about the mask
export const AREA = "blurred_area";

/** A reason without its numbers, so that "residual 0.4 px" and "residual 0.7 px" are one kind. */
export const reasonKind = (reason) => reason.replace(/[-+]?\d+(\.\d+)?/g, "…");

const emptyFilter = () => ({
  text: "",
  sets: { verdict: new Set(), split: new Set(), mask: new Set(), by: new Set(), reason: new Set(), scene: new Set() },
  ranges: new Map(),
});

/** Events: "shown" when the list changes, "row" (detail: number) when a pair does, "areas" when they have come. */
export class Model extends EventTarget {
  constructor(file, table) {
    super();
    this.file = file;
    this.scenes = table.scenes;
    this.measures = Object.keys(table.measures);
    if (this.measures.includes(CONFIDENCE)) this.measures = [CONFIDENCE, ...this.measures.filter((key) => key !== CONFIDENCE)];
    this.pairs = table.name.map((name, number) => {
      const scene = table.scenes[table.scene[number]];
      const pair = { number, name, scene: scene.name, split: scene.split, height: scene.height, width: scene.width };
      pair.values = Object.fromEntries(this.measures.map((key) => [key, table.measures[key][number]]));
      for (const key of ["verdict", "by", "reasons", "note", "mask", "mask_version"]) pair[key] = table[key][number];
      pair.kinds = pair.reasons ? pair.reasons.split("; ").map(reasonKind) : [];
      return pair;
    });
    this.filter = emptyFilter();
    this.sort = { key: "", descending: false };
    this.undone = []; // verdicts before the last ones, to take back
    this.refresh();
  }

  static async load() {
    const [file, table] = await Promise.all([api.readFile(), api.readPairs()]);
    api.setIdentity(file.identity);
    return new Model(file, table);
  }

  async loadAreas() {
    const { blurred_share: shares } = await api.readAreas();
    shares.forEach((share, number) => { this.pairs[number].values[AREA] = share === null ? null : 100 * share; });
    this.measures = [AREA, ...this.measures];
    this.dispatchEvent(new Event("areas"));
  }

  /** Whether a method made the mask of a pair and trusts it little. */
  doubtful(pair) {
    const confidence = pair.values[CONFIDENCE];
    return pair.mask === 1 && typeof confidence === "number" && confidence < this.file.doubtful_below;
  }

  /** What a pair is counted under in the filters of `group`. */
  keys(pair, group) {
    if (group === "reason") return pair.kinds;
    if (group === "mask") return this.doubtful(pair) ? [MASK_WORDS[pair.mask], DOUBTFUL] : [MASK_WORDS[pair.mask]];
    return [pair[group]];
  }

  matches(pair) {
    const { text, sets, ranges } = this.filter;
    for (const [group, chosen] of Object.entries(sets)) {
      if (chosen.size && !this.keys(pair, group).some((key) => chosen.has(key))) return false;
    }
    for (const [key, [low, high]] of ranges) {
      const value = pair.values[key];
      if (value === null || value === undefined || value < low || value > high) return false;
    }
    if (!text) return true;
    const content = `${pair.scene}/${pair.name} ${pair.note} ${pair.reasons} ${pair.by}`.toLowerCase();
    return text.toLowerCase().split(/\s+/).every((word) => content.includes(word));
  }

  refresh() {
    const { key, descending } = this.sort;
    this.shown = this.pairs.filter((pair) => this.matches(pair));
    if (key) this.shown.sort((a, b) => compare(sortValue(a, key), sortValue(b, key), descending) || a.number - b.number);
    else if (descending) this.shown.reverse();
    this.dispatchEvent(new Event("shown"));
  }

  clearFilter() {
    this.filter = emptyFilter();
    this.refresh();
  }

  get filtered() {
    return this.shown.length < this.pairs.length;
  }

  /** How many shown pairs were changed so that they would not be shown any more. */
  get stale() {
    return this.shown.reduce((count, pair) => count + !this.matches(pair), 0);
  }

  counts(group) {
    const counts = new Map();
    for (const pair of this.pairs) for (const key of this.keys(pair, group)) counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts;
  }

  /** Take a row that the server answered with. The list stays as it is: pairs must not vanish under one's hand. */
  take(row) {
    const pair = this.pairs[row.number];
    for (const key of ["verdict", "by", "reasons", "note", "mask", "mask_version"]) pair[key] = row[key];
    if (row.blurred_share !== undefined) pair.values[AREA] = row.blurred_share === null ? null : 100 * row.blurred_share;
    this.dispatchEvent(new CustomEvent("row", { detail: row.number }));
    return pair;
  }

  async decide(numbers, verdict, remember = true) {
    const changed = [];
    try {
      for (const number of numbers) {
        const before = this.pairs[number].verdict;
        this.take(await api.decide(number, { verdict }));
        if (before !== verdict) changed.push([number, before]);
      }
    } finally {
      if (remember && changed.length) this.undone.push(changed);
    }
  }

  async note(number, note) {
    return this.take(await api.decide(number, { note }));
  }

  /** Take the last verdicts back; the numbers concerned. */
  async undo() {
    const last = this.undone.pop() ?? [];
    for (const [number, verdict] of last) await this.decide([number], verdict, false);
    return last.map(([number]) => number);
  }
}

function sortValue(pair, key) {
  if (key === "verdict") return VERDICTS.indexOf(pair.verdict);
  if (key === "mask") return pair.mask;
  if (key === "split" || key === "scene" || key === "name" || key === "note" || key === "reasons") return pair[key];
  return pair.values[key];
}

/** Pairs without a value come last, whichever way the order runs. */
function compare(a, b, descending) {
  const missing = (value) => value === null || value === undefined || value === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
  return descending ? -order : order;
}
