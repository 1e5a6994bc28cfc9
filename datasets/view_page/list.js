// The list of pairs as thumbnails or as a table. Only what can be seen is in the document, so 5,000 pairs cost nothing.

import { cellsUrl, thumbnailUrl } from "./api.js";
import { byId, make, readable, title } from "./dom.js";
import { AREA, DOUBTFUL, MASK_WORDS, VERDICT_WORDS } from "./model.js";

const CARD = { width: 216, height: 206, gap: 10 };
const ROW_HEIGHT = 68;
const REST_MS = 300;
const BEYOND = 2; // rows kept above and below the window
const BEFORE = { scene: 116, name: 76, split: 48, verdict: 96, mask: 78 }; // columns of the table and their widths
const AFTER = { reasons: 230, note: 230 };
const THUMB_WIDTH = 96, MEASURE_WIDTH = 96, COLUMN_GAP = 10, MARGIN = 24;
const MASK_SHORT = ["none", "by method", "by hand"];

/** Events: "open" and "rest" (detail: number): a pair is to be opened, or is the current one for a moment. */
export class List extends EventTarget {
  constructor(model) {
    super();
    this.model = model;
    this.box = byId("list");
    this.space = byId("list-space");
    this.head = byId("table-head");
    this.table = false;
    this.masks = false;
    this.at = 0; // position of the current pair among those shown
    this.selected = new Set();
    this.nodes = new Map();
    this.box.addEventListener("scroll", () => {
      this.head.scrollLeft = this.box.scrollLeft;
      this.draw();
    }, { passive: true });
    new ResizeObserver(() => this.layOut()).observe(this.box);
    model.addEventListener("shown", () => this.restart());
    model.addEventListener("areas", () => this.redraw());
    model.addEventListener("row", (event) => this.renew(event.detail));
    this.restart();
  }

  get current() {
    return this.model.shown[this.at];
  }

  /** The numbers that a verdict is meant for: those selected, or the current one. */
  get targets() {
    if (this.selected.size) return this.model.shown.filter((pair) => this.selected.has(pair.number)).map((pair) => pair.number);
    return this.current ? [this.current.number] : [];
  }

  setTable(table) {
    this.table = table;
    this.redraw();
    this.reveal();
  }

  setMasks(masks) {
    this.masks = masks;
    this.redraw();
  }

  restart() {
    const number = this.number;
    this.selected.clear();
    const again = this.model.shown.findIndex((pair) => pair.number === number);
    this.at = Math.max(0, again);
    this.number = this.current?.number;
    if (again < 0) this.box.scrollTop = 0;
    byId("list-empty").hidden = this.model.shown.length > 0;
    this.redraw();
  }

  redraw() {
    for (const node of this.nodes.values()) node.remove();
    this.nodes.clear();
    this.layOut();
  }

  layOut() {
    if (!this.box.clientWidth) return;
    this.box.classList.toggle("table", this.table);
    this.head.hidden = !this.table;
    this.columns = this.table ? 1 : Math.max(1, Math.floor((this.box.clientWidth - CARD.gap) / (CARD.width + CARD.gap)));
    this.pitch = this.table ? ROW_HEIGHT : CARD.height + CARD.gap;
    this.cardWidth = Math.floor((this.box.clientWidth - CARD.gap) / this.columns) - CARD.gap;
    const rows = Math.ceil(this.model.shown.length / this.columns);
    this.space.style.height = `${rows * this.pitch + (this.table ? 0 : CARD.gap)}px`;
    const widths = [THUMB_WIDTH, ...this.tableColumns.map((column) => BEFORE[column] ?? AFTER[column] ?? MEASURE_WIDTH)];
    this.template = widths.map((width) => `${width}px`).join(" ");
    const total = widths.reduce((sum, width) => sum + width + COLUMN_GAP, MARGIN);
    this.space.style.width = this.table ? `${Math.max(total, this.box.clientWidth)}px` : "";
    if (this.table) this.buildHead();
    for (const node of this.nodes.values()) this.place(node);
    this.draw();
  }

  buildHead() {
    const { key, descending } = this.model.sort;
    const cells = this.tableColumns.map((column) => make("button", {
      type: "button", class: this.model.measures.includes(column) ? "number" : null, "data-sort": column,
      "aria-pressed": String(key === column), title: `Sort by ${title(column)}`,
    }, title(column), key === column ? (descending ? " ↓" : " ↑") : ""));
    const row = make("div", { class: "row" }, make("span", {}), ...cells);
    row.style.gridTemplateColumns = this.template;
    row.style.width = this.space.style.width;
    this.head.replaceChildren(row);
    this.head.scrollLeft = this.box.scrollLeft;
  }

  draw() {
    if (!this.pitch) return;
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.pitch) - BEYOND) * this.columns;
    const last = (Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.pitch) + BEYOND) * this.columns;
    const wanted = new Map();
    for (let at = first; at < Math.min(last, this.model.shown.length); at += 1) wanted.set(this.model.shown[at].number, at);
    for (const [number, node] of this.nodes) {
      if (wanted.has(number)) continue;
      node.remove();
      this.nodes.delete(number);
    }
    for (const [number, at] of wanted) {
      if (this.nodes.has(number)) continue;
      const node = this.node(this.model.pairs[number], at);
      this.nodes.set(number, node);
      this.place(node);
      this.space.append(node);
    }
    this.mark();
  }

  place(node) {
    const at = Number(node.dataset.at);
    const row = Math.floor(at / this.columns), column = at % this.columns;
    const margin = this.table ? 0 : CARD.gap;
    node.style.transform = `translate(${column * (this.cardWidth + CARD.gap) + margin}px, ${row * this.pitch + margin}px)`;
    node.style.width = this.table ? this.space.style.width : `${this.cardWidth}px`;
    node.style.gridTemplateColumns = this.table ? this.template : "";
  }

  node(pair, at) {
    const picture = make("span", { class: "thumb" },
      make("img", { src: thumbnailUrl(pair.number), alt: "", loading: "eager", decoding: "async", draggable: "false" }),
      this.masks && pair.mask ? make("img", { class: "cells", src: cellsUrl(pair.number, pair.mask_version), alt: "", draggable: "false" }) : null);
    const label = `${pair.scene}/${pair.name}, ${VERDICT_WORDS[pair.verdict]}${pair.note ? `, note: ${pair.note}` : ""}`;
    const node = make("div", {
      class: this.table ? "row" : "card", role: "option", id: `pair-${pair.number}`, "aria-label": label,
      "aria-posinset": at + 1, "aria-setsize": this.model.shown.length, "data-at": at, "data-number": pair.number,
      "data-verdict": pair.verdict, click: (event) => this.clicked(event, Number(node.dataset.at)),
    });
    node.append(picture, ...(this.table ? this.tableCells(pair) : [this.caption(pair)]));
    return node;
  }

  caption(pair) {
    const { key } = this.model.sort;
    const measure = this.model.measures.includes(key) ? key : AREA;
    const shown = measure === AREA
      ? (pair.values[AREA] === null ? "no mask" : `${readable(pair.values[AREA])} % blurred`)
      : `${title(measure)} ${readable(pair.values[measure])}`;
    const doubt = this.model.doubtful(pair) ? DOUBTFUL : "";
    const why = pair.note ? `“${pair.note}”` : [pair.reasons, doubt].filter(Boolean).join("; ");
    return make("span", { class: "caption" },
      make("span", { class: "name", title: `${pair.scene}/${pair.name}` }, `${pair.scene}/${pair.name}`),
      make("span", { class: "facts" }, verdictTag(pair), make("span", { class: "value" }, pair.values[measure] === undefined ? "" : shown)),
      make("span", { class: doubt && !pair.note ? "why doubtful" : "why", title: why }, why));
  }

  get tableColumns() {
    return [...Object.keys(BEFORE), ...this.model.measures, ...Object.keys(AFTER)];
  }

  tableCells(pair) {
    return this.tableColumns.map((column) => {
      if (column === "verdict") return make("span", {}, verdictTag(pair));
      if (column === "mask") {
        const doubtful = this.model.doubtful(pair);
        return make("span", { title: doubtful ? DOUBTFUL : MASK_WORDS[pair.mask], class: doubtful ? "doubtful" : null },
          doubtful ? "doubtful" : MASK_SHORT[pair.mask]);
      }
      if (column in BEFORE || column in AFTER) return make("span", { class: "text", title: pair[column] }, pair[column]);
      return make("span", { class: "number" }, readable(pair.values[column]));
    });
  }

  renew(number) {
    const old = this.nodes.get(number);
    if (!old) return;
    const node = this.node(this.model.pairs[number], Number(old.dataset.at));
    this.nodes.set(number, node);
    this.place(node);
    old.replaceWith(node);
    this.mark();
  }

  mark() {
    const current = this.current?.number;
    for (const [number, node] of this.nodes) {
      node.classList.toggle("current", number === current);
      node.setAttribute("aria-selected", String(this.selected.has(number)));
    }
    if (current === undefined) return;
    this.box.setAttribute("aria-activedescendant", `pair-${current}`);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.dispatchEvent(new CustomEvent("rest", { detail: current })), REST_MS);
  }

  clicked(event, at) {
    const number = this.model.shown[at].number;
    if (event.shiftKey) this.selectTo(at);
    else if (event.ctrlKey || event.metaKey) {
      if (!this.selected.delete(number)) this.selected.add(number);
    } else {
      this.selected.clear();
      this.open(at);
      return;
    }
    this.go(at);
    this.box.focus({ preventScroll: true });
  }

  selectTo(at) {
    const [from, to] = [Math.min(this.at, at), Math.max(this.at, at)];
    for (const pair of this.model.shown.slice(from, to + 1)) this.selected.add(pair.number);
  }

  selectAll() {
    this.selected = new Set(this.model.shown.map((pair) => pair.number));
    this.mark();
  }

  selectNone() {
    this.selected.clear();
    this.mark();
  }

  go(at) {
    if (!this.model.shown.length) return;
    this.at = Math.max(0, Math.min(this.model.shown.length - 1, at));
    this.number = this.current.number;
    this.reveal();
    this.mark();
  }

  move(columns, rows, selecting) {
    const at = this.at + columns + rows * this.columns;
    if (at < 0 || at >= this.model.shown.length) return;
    if (selecting) this.selectTo(at);
    this.go(at);
  }

  page(direction) {
    this.go(this.at + direction * this.columns * Math.max(1, Math.floor(this.box.clientHeight / this.pitch) - 1));
  }

  reveal() {
    const top = Math.floor(this.at / this.columns) * this.pitch, bottom = top + this.pitch + CARD.gap;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (bottom > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = bottom - this.box.clientHeight;
    this.draw();
  }

  open(at = this.at) {
    if (!this.model.shown.length) return;
    this.go(at);
    this.dispatchEvent(new CustomEvent("open", { detail: this.current.number }));
  }
}

function verdictTag(pair) {
  return make("span", { class: `verdict ${pair.verdict}` }, make("span", { class: `dot ${pair.verdict}`, "aria-hidden": "true" }), VERDICT_WORDS[pair.verdict]);
}
