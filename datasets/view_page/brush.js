// Mending a mask: strokes of a round brush, undo and redo; every change is written at once.

import * as api from "./api.js";
import { say } from "./dom.js";
import { MaskLayer } from "./masklayer.js";

const STEPS_KEPT = 60;
const STORED = "stored";

/** The mask of one pair while it is looked at. Events: "change" after each stroke, undo or redo. */
export class Brush extends EventTarget {
  constructor(model, pictures, stage) {
    super();
    Object.assign(this, { model, pictures, stage });
    this.radius = 24;
    this.erasing = false;
    this.active = false;
    this.saving = Promise.resolve();
    this.unsaved = 0;
  }

  /** Work on the mask of `pair` (null where it has none); what was drawn before is being written already. */
  take(pair, mask) {
    this.pair = pair;
    this.mask = mask;
    this.layer = mask && new MaskLayer(mask, pair.width, pair.height);
    this.done = [];
    this.redoable = [];
    this.fresh = pair.mask_version === STORED; // taking everything back leads to the stored mask
    this.hadMask = mask !== null;
    this.stroke = null;
    return this.layer;
  }

  setTool(tool) {
    this.active = tool !== null;
    this.erasing = tool === "eraser";
    this.stage.painter = this.active ? this : null;
    this.stage.canvas.style.cursor = this.active ? "none" : "grab";
    this.stage.redraw();
  }

  resize(factor) {
    this.radius = Math.max(1, Math.min(400, this.radius * factor));
    this.stage.redraw();
  }

  down(point) {
    if (this.model.file.read_only || !this.pair) return;
    if (!this.mask) {
      this.mask = new Uint8Array(this.pair.width * this.pair.height);
      this.layer = new MaskLayer(this.mask, this.pair.width, this.pair.height);
      this.stage.layer = this.layer;
    }
    if (this.stage.maskMode === "off") this.dispatchEvent(new Event("unseen"));
    this.stroke = { before: this.mask.slice(), x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
    this.last = point;
    this.paint(point, point);
  }

  move(point) {
    if (!this.stroke) return;
    this.paint(this.last, point);
    this.last = point;
  }

  up() {
    const { stroke } = this;
    this.stroke = null;
    if (!stroke || stroke.x1 <= stroke.x0 || stroke.y1 <= stroke.y0) return;
    const step = { ...stroke, before: this.cut(stroke.before, stroke), after: this.cut(this.mask, stroke) };
    if (step.before.every((value, index) => value === step.after[index])) return;
    this.done.push(step);
    if (this.done.length > STEPS_KEPT) {
      this.done.shift();
      this.fresh = false;
    }
    this.redoable = [];
    this.changed();
  }

  /** Set all pixels within the brush's radius of the segment: pixel centres lie at whole numbers plus a half. */
  paint(from, to) {
    const { width, height } = this.pair, { mask, radius } = this, value = this.erasing ? 0 : 255;
    const x0 = Math.max(0, Math.floor(Math.min(from.x, to.x) - radius)), x1 = Math.min(width, Math.ceil(Math.max(from.x, to.x) + radius) + 1);
    const y0 = Math.max(0, Math.floor(Math.min(from.y, to.y) - radius)), y1 = Math.min(height, Math.ceil(Math.max(from.y, to.y) + radius) + 1);
    if (x1 <= x0 || y1 <= y0) return;
    const dx = to.x - from.x, dy = to.y - from.y, length = dx * dx + dy * dy;
    for (let y = y0; y < y1; y += 1) {
      for (let x = x0; x < x1; x += 1) {
        const px = x + 0.5 - from.x, py = y + 0.5 - from.y;
        const along = length ? Math.max(0, Math.min(1, (px * dx + py * dy) / length)) : 0;
        if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius) mask[y * width + x] = value;
      }
    }
    const { stroke } = this;
    Object.assign(stroke, { x0: Math.min(stroke.x0, x0), y0: Math.min(stroke.y0, y0), x1: Math.max(stroke.x1, x1), y1: Math.max(stroke.y1, y1) });
    this.layer.update(x0, y0, x1, y1);
    this.stage.redraw();
  }

  cut(mask, { x0, y0, x1, y1 }) {
    const part = new Uint8Array((x1 - x0) * (y1 - y0));
    for (let y = y0; y < y1; y += 1) part.set(mask.subarray(y * this.pair.width + x0, y * this.pair.width + x1), (y - y0) * (x1 - x0));
    return part;
  }

  put(part, { x0, y0, x1, y1 }) {
    for (let y = y0; y < y1; y += 1) this.mask.set(part.subarray((y - y0) * (x1 - x0), (y - y0 + 1) * (x1 - x0)), y * this.pair.width + x0);
    this.layer.update(x0, y0, x1, y1);
    this.changed();
  }

  undo() {
    const step = this.done.pop();
    if (!step) return false;
    this.redoable.push(step);
    this.put(step.before, step);
    return true;
  }

  redo() {
    const step = this.redoable.pop();
    if (!step) return false;
    this.done.push(step);
    this.put(step.after, step);
    return true;
  }

  /** Give up everything drawn and go back to the mask in the pairs file. */
  async revert() {
    const { pair } = this;
    await this.saving;
    this.model.take(await api.writeMask(pair.number, null, pair.mask_version));
  }

  changed() {
    this.stage.redraw();
    const back = this.fresh && !this.done.length;
    this.write(this.pair, back ? null : this.mask.slice());
    this.dispatchEvent(new Event("change"));
  }

  /** Writes happen one after the other; of several that wait for the same pair only the last is needed. */
  write(pair, mask) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.count(1);
    this.saving = this.saving.then(async () => {
      try {
        if (turn < this.turn && this.pair === pair) return;
        const row = await api.writeMask(pair.number, mask, pair.mask_version);
        if (mask) this.pictures.keepMask(pair.number, mask, row.mask_version);
        this.model.take(row);
        say("mask saved");
      } catch (error) {
        say(error.message, "error");
        if (error.status === 409) this.model.take(await api.readRow(pair.number));
        this.dispatchEvent(new CustomEvent("refused", { detail: pair.number }));
      } finally {
        this.count(-1);
      }
    });
  }

  count(change) {
    this.unsaved += change;
    document.body.dataset.unsaved = this.unsaved;
  }
}
