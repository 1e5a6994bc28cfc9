// The large picture: one of several views of a pair, zoomed and shifted, with the mask on top.

import { readWindow } from "./api.js";
import { byId } from "./dom.js";

export const MODES = ["blurred", "sharp", "slider", "blink", "difference"];
export const MASK_MODES = ["off", "tint", "outline"];
const EXACT_FROM = 2; // from this zoom on, pixels as stored replace the JPEG
const EXACT_AFTER_MS = 120;
const GRAB_PX = 14;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Events: "zoom". `painter` may be set to something with down, move, up and cursor: it gets the pointer then. */
export class Stage extends EventTarget {
  constructor() {
    super();
    this.canvas = byId("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.mode = "slider";
    this.maskMode = "outline";
    this.gain = 4;
    this.split = 0.5;
    this.swapped = false; // the other picture is shown while a key is held, or by blinking
    this.pair = null;
    this.layer = null;
    this.painter = null;
    this.view = { scale: 0, x: 0, y: 0 }; // CSS pixels per image pixel; image point in the middle
    this.fitted = true;
    this.exact = null;
    new ResizeObserver(() => this.resize()).observe(this.canvas.parentElement);
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const [type, act] of [["pointerdown", "down"], ["pointermove", "moved"], ["pointerup", "up"], ["pointercancel", "up"]]) {
      this.canvas.addEventListener(type, (event) => this[act](event));
    }
    this.canvas.addEventListener("pointerleave", () => { this.pointer = null; this.redraw(); });
    this.canvas.addEventListener("dblclick", () => { if (!this.painter) this.toggleFit(); });
  }

  get size() {
    return { width: this.canvas.parentElement.clientWidth, height: this.canvas.parentElement.clientHeight };
  }

  get fitScale() {
    const { width, height } = this.size;
    return this.pair ? Math.min(width / this.pair.blurred.width, height / this.pair.blurred.height) : 1;
  }

  /** Show a pair { number, blurred, sharp } with its mask layer; the view stays where the size is the same. */
  show(pair, layer) {
    const same = this.pair && this.pair.blurred.width === pair.blurred.width && this.pair.blurred.height === pair.blurred.height;
    this.pair = pair;
    this.layer = layer;
    this.exact = null;
    if (!same || this.fitted) this.fit();
    this.redraw();
    this.wantExact();
  }

  clear() {
    this.pair = null;
    this.layer = null;
    this.redraw();
  }

  setMode(mode) {
    this.mode = mode;
    this.swapped = false;
    clearInterval(this.blinking);
    if (mode === "blink") this.blinking = setInterval(() => { this.swapped = !this.swapped; this.redraw(); }, calm.matches ? 1000 : 500);
    this.redraw();
    this.wantExact();
  }

  hold(swapped) {
    if (this.swapped === swapped || this.mode === "blink") return;
    this.swapped = swapped;
    this.redraw();
  }

  resize() {
    const ratio = devicePixelRatio || 1, { width, height } = this.size;
    if (!width || !height) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (this.pair && this.fitted) this.fit();
    this.draw();
  }

  fit() {
    this.fitted = true;
    this.view = { scale: this.fitScale, x: this.pair.blurred.width / 2, y: this.pair.blurred.height / 2 };
    this.changed();
  }

  toggleFit() {
    if (!this.pair) return;
    if (this.fitted) this.zoom(1 / (devicePixelRatio || 1) / this.view.scale);
    else this.fit();
  }

  /** Zoom by `factor` about a point of the stage in CSS pixels; without one about its middle. */
  zoom(factor, at = { x: this.size.width / 2, y: this.size.height / 2 }) {
    if (!this.pair) return;
    const before = this.toImage(at);
    const scale = Math.max(Math.min(this.fitScale, 1) * 0.9, Math.min(32, this.view.scale * factor));
    this.fitted = Math.abs(scale - this.fitScale) < 1e-3 * scale;
    this.view.scale = scale;
    const after = this.toImage(at);
    this.shift(before.x - after.x, before.y - after.y);
  }

  /** Shift the view by image pixels. */
  shift(x, y) {
    const { width, height } = this.pair.blurred;
    this.view.x = Math.max(0, Math.min(width, this.view.x + x));
    this.view.y = Math.max(0, Math.min(height, this.view.y + y));
    if (x || y) this.fitted = false;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("zoom"));
    this.redraw();
    this.wantExact();
  }

  toImage(point) {
    const { width, height } = this.size;
    return { x: this.view.x + (point.x - width / 2) / this.view.scale, y: this.view.y + (point.y - height / 2) / this.view.scale };
  }

  wheel(event) {
    event.preventDefault();
    if (!this.pair) return;
    this.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(0.35, Math.abs(event.deltaY) / 300)), this.point(event));
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  onDivider(point) {
    return this.mode === "slider" && Math.abs(point.x - this.split * this.size.width) < GRAB_PX;
  }

  down(event) {
    if (!this.pair || (event.button !== 0 && event.button !== 1)) return;
    const point = this.point(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.last = point;
    if (this.painter && event.button === 0 && !event.altKey) this.dragging = "paint";
    else this.dragging = this.onDivider(point) ? "divider" : "view";
    if (this.dragging === "paint") this.painter.down(this.toImage(point));
    this.redraw();
  }

  moved(event) {
    const point = this.point(event);
    this.pointer = point;
    if (this.dragging === "paint") {
      for (const part of event.getCoalescedEvents?.() ?? [event]) this.painter.move(this.toImage(this.point(part)));
      this.painter.move(this.toImage(point));
    } else if (this.dragging === "divider") this.setSplit(point.x / this.size.width);
    else if (this.dragging) {
      this.shift((this.last.x - point.x) / this.view.scale, (this.last.y - point.y) / this.view.scale);
      this.last = point;
    }
    this.canvas.style.cursor = this.painter ? "none" : this.onDivider(point) ? "ew-resize" : this.dragging ? "grabbing" : "grab";
    if (this.painter) this.redraw();
  }

  up() {
    if (this.dragging === "paint") this.painter.up();
    this.dragging = null;
  }

  setSplit(split) {
    this.split = Math.max(0, Math.min(1, split));
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  draw() {
    const { context } = this, ratio = devicePixelRatio || 1, { width, height } = this.size;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = this.mode === "difference" ? "#000" : "#17191b"; // the difference is made brighter, ground and all
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.pair) return this.tag("", "");
    const { scale, x, y } = this.view;
    const place = [ratio * scale, 0, 0, ratio * scale, ratio * (width / 2 - x * scale), ratio * (height / 2 - y * scale)];
    context.imageSmoothingEnabled = ratio * scale < EXACT_FROM;
    context.imageSmoothingQuality = "high";
    this.drawPictures(place, ratio, width, height);
    if (this.layer && this.maskMode !== "off") {
      context.setTransform(...place);
      context.drawImage(this.layer.picture(this.maskMode, Math.max(1, Math.round(2.2 / (ratio * scale)))), 0, 0);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.mode === "slider") this.drawDivider(width, height);
    if (this.painter && this.pointer) this.drawCursor();
    this.canvas.dataset.drawn = this.pair.number;
  }

  drawPictures(place, ratio, width, height) {
    const { context } = this, first = this.swapped ? "sharp" : "blurred", second = this.swapped ? "blurred" : "sharp";
    context.setTransform(...place);
    if (this.mode === "difference") {
      this.drawOne("blurred");
      const other = this.aside(place);
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.globalCompositeOperation = "difference";
      context.drawImage(other, 0, 0);
      context.globalCompositeOperation = "lighter"; // the canvas added to itself: twice the difference
      for (let gain = 1; gain < this.gain; gain *= 2) context.drawImage(this.canvas, 0, 0);
      context.globalCompositeOperation = "source-over";
      return this.tag(`difference × ${this.gain}`, "");
    }
    if (this.mode !== "slider") {
      const which = this.mode === "sharp" ? second : first;
      this.drawOne(which);
      return this.tag(which, "");
    }
    const left = Math.round(ratio * this.split * width);
    for (const [which, from, to] of [[first, 0, left], [second, left, ratio * width]]) {
      context.save();
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.beginPath();
      context.rect(from, 0, to - from, ratio * height);
      context.clip();
      context.setTransform(...place);
      this.drawOne(which);
      context.restore();
    }
    return this.tag(first, second);
  }

  drawOne(which, context = this.context) {
    context.drawImage(this.pair[which], 0, 0);
    const exact = this.exact;
    if (exact && exact.number === this.pair.number) context.drawImage(exact[which], exact.box.x, exact.box.y);
  }

  /** The sharp picture as it would be drawn, on a canvas of its own over the ground of the difference. */
  aside(place) {
    const { width, height } = this.canvas;
    if (this.second?.width !== width || this.second.height !== height) this.second = new OffscreenCanvas(width, height);
    const context = this.second.getContext("2d", { alpha: false });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.setTransform(...place);
    context.imageSmoothingEnabled = this.context.imageSmoothingEnabled;
    context.imageSmoothingQuality = "high";
    this.drawOne("sharp", context);
    return this.second;
  }

  drawDivider(width, height) {
    const x = Math.round(this.split * width);
    this.context.fillStyle = "#ffffffb0";
    this.context.fillRect(x - 0.5, 0, 1, height);
    this.context.beginPath();
    this.context.arc(x, height / 2, 9, 0, 7);
    this.context.fillStyle = "#f2f3f4";
    this.context.fill();
    this.context.fillStyle = "#33373b";
    this.context.font = "11px system-ui, sans-serif";
    this.context.textAlign = "center";
    this.context.textBaseline = "middle";
    this.context.fillText("↔", x, height / 2 + 0.5);
  }

  drawCursor() {
    const { context } = this, radius = Math.max(1.5, this.painter.radius * this.view.scale);
    for (const [colour, wide] of [["#000000b0", 3], [this.painter.erasing ? "#8cc8ff" : "#ffb060", 1.4]]) {
      context.beginPath();
      context.arc(this.pointer.x, this.pointer.y, radius, 0, 7);
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.stroke();
    }
  }

  tag(left, right) {
    byId("stage-left").textContent = left;
    byId("stage-right").textContent = right;
  }

  /** Once the view rests on large pixels, fetch them as they are stored: the pictures themselves are JPEG. */
  wantExact() {
    clearTimeout(this.exactTimer);
    if (!this.pair || (devicePixelRatio || 1) * this.view.scale < EXACT_FROM) return;
    this.exactTimer = setTimeout(() => this.fetchExact(), EXACT_AFTER_MS);
  }

  async fetchExact() {
    const { pair } = this, { width, height } = this.size;
    const from = this.toImage({ x: 0, y: 0 }), to = this.toImage({ x: width, y: height });
    const box = { x: Math.max(0, Math.floor(from.x)), y: Math.max(0, Math.floor(from.y)) };
    box.width = Math.min(pair.blurred.width, Math.ceil(to.x)) - box.x;
    box.height = Math.min(pair.blurred.height, Math.ceil(to.y)) - box.y;
    if (box.width < 1 || box.height < 1 || sameBox(this.exact, pair.number, box)) return;
    try {
      const [blurred, sharp] = await Promise.all(["blurred", "sharp"].map((which) => readWindow(pair.number, which, box)));
      if (this.pair !== pair) return;
      this.exact = { number: pair.number, box, blurred, sharp };
      this.canvas.dataset.exact = pair.number;
      this.redraw();
    } catch { /* the JPEG stays */ }
  }
}

function sameBox(exact, number, box) {
  return exact && exact.number === number && ["x", "y", "width", "height"].every((key) => exact.box[key] === box[key]);
}
