// One pair large: views, mask, brush, verdict and note.

import { Brush } from "./brush.js";
import { byId, make, readable, say, title } from "./dom.js";
import { MASK_WORDS, VERDICTS, VERDICT_WORDS } from "./model.js";
import { Pictures } from "./pictures.js";
import { MASK_MODES, MODES, Stage } from "./stage.js";

const VERDICT_KEYS = { accept: "A", reject: "R", undecided: "U" };
const VERDICT_ORDERS = { accept: "Accept", reject: "Reject", undecided: "Undecided" };

/** Events: "closed". */
export class Viewer extends EventTarget {
  constructor(model, list) {
    super();
    Object.assign(this, { model, list });
    this.box = byId("viewer");
    this.stage = new Stage();
    this.pictures = new Pictures(model);
    this.brush = new Brush(model, this.pictures, this.stage);
    this.number = null;
    this.buildTools();
    this.stage.addEventListener("zoom", () => this.showZoom());
    this.brush.addEventListener("change", () => this.showTools());
    this.brush.addEventListener("unseen", () => this.setMaskMode("tint"));
    this.brush.addEventListener("refused", (event) => { if (event.detail === this.number) this.show(this.number); });
    model.addEventListener("row", (event) => { if (event.detail === this.number) this.about(); });
  }

  get isOpen() {
    return !this.box.hidden;
  }

  get pair() {
    return this.number === null ? null : this.model.pairs[this.number];
  }

  buildTools() {
    const button = (words, hint, act, data) => make("button", { type: "button", title: hint, click: act, ...data }, words);
    byId("modes").replaceChildren(...MODES.map((mode, index) =>
      button(mode, `${mode} (${index + 1})`, () => this.setMode(mode), { "data-mode": mode })));
    byId("mask-modes").replaceChildren(make("span", { class: "label" }, "Mask"), ...MASK_MODES.map((mode) =>
      button(mode, `Mask ${mode} (M)`, () => this.setMaskMode(mode), { "data-mask": mode })));
    const tools = [
      button("Brush", "Add to the mask (B)", () => this.setTool("brush"), { "data-tool": "brush" }),
      button("Eraser", "Take from the mask (E)", () => this.setTool("eraser"), { "data-tool": "eraser" }),
      make("label", {}, "Size ", make("input", { id: "brush-size", type: "range", min: 0, max: 100, value: 50, title: "Brush size ([ and ])",
        input: (event) => { this.brush.radius = Math.round(400 ** (event.target.value / 100)); this.stage.redraw(); } })),
      button("Undo", "Take the last stroke back (Ctrl+Z)", () => this.undo(), { id: "undo" }),
      button("Redo", "Do it again (Ctrl+Shift+Z)", () => this.redo(), { id: "redo" }),
    ];
    byId("brush-tools").replaceChildren(...tools);
    byId("brush-tools").hidden = this.model.file.read_only;
    byId("advance").parentElement.hidden = this.model.file.read_only;
    byId("verdicts").replaceChildren(...VERDICTS.map((verdict) => make("button", {
      type: "button", class: verdict, "data-verdict": verdict, title: `${VERDICT_ORDERS[verdict]} (${VERDICT_KEYS[verdict]})`,
      disabled: this.model.file.read_only, click: () => this.decide(verdict) },
    make("span", { class: `dot ${verdict}`, "aria-hidden": "true" }), VERDICT_ORDERS[verdict])));
    for (const [id, act] of [["back", () => this.close()], ["previous", () => this.step(-1)], ["next", () => this.step(1)],
      ["zoom-in", () => this.stage.zoom(1.5)], ["zoom-out", () => this.stage.zoom(1 / 1.5)], ["zoom-fit", () => this.stage.toggleFit()],
      ["revert-mask", () => this.revertMask()]]) byId(id).addEventListener("click", act);
    const note = byId("note");
    note.readOnly = this.model.file.read_only;
    note.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); note.blur(); byId("canvas").focus(); }
      if (event.key === "Escape") { event.stopPropagation(); note.value = this.pair.note; note.blur(); byId("canvas").focus(); }
    });
    note.addEventListener("blur", () => this.saveNote());
    this.setMode("slider");
    this.setMaskMode("outline");
  }

  open(number) {
    this.box.hidden = false;
    byId("browse").inert = byId("bar").inert = true;
    this.stage.resize();
    byId("canvas").focus();
    return this.show(number);
  }

  close() {
    if (!this.isOpen) return;
    this.saveNote();
    this.setTool(null);
    this.stage.setMode(this.stage.mode === "blink" ? "slider" : this.stage.mode);
    this.showTools();
    this.box.hidden = true;
    byId("browse").inert = byId("bar").inert = false;
    this.number = null;
    this.dispatchEvent(new Event("closed"));
  }

  /** Show a pair. Its pictures come with those around it already fetched, usually. */
  async show(number) {
    const begun = performance.now();
    if (this.number !== null && this.number !== number) this.saveNote();
    this.number = number;
    history.replaceState(null, "", `#pair=${number}`);
    const at = this.model.shown.findIndex((pair) => pair.number === number);
    if (at >= 0) this.list.go(at);
    this.about();
    const slow = setTimeout(() => this.message("loading …"), 150);
    try {
      const { blurred, sharp, mask } = await this.pictures.get(number);
      if (this.number !== number) return;
      const layer = this.brush.take(this.pair, mask && mask.slice());
      this.message("");
      this.stage.show({ number, blurred, sharp }, layer);
      this.stage.draw();
      this.box.dataset.shown = number;
      this.box.dataset.milliseconds = (performance.now() - begun).toFixed(1);
    } catch (error) {
      if (this.number !== number) return;
      this.stage.clear();
      this.brush.take(this.pair, null);
      this.message(error.message);
    } finally {
      clearTimeout(slow);
    }
    this.showTools();
    this.prefetch(at);
  }

  async prefetch(at) {
    const { shown } = this.model, direction = this.direction ?? 1;
    for (const ahead of [direction, 2 * direction, -direction]) await this.pictures.prefetch(shown[at + ahead]?.number);
  }

  message(text) {
    byId("stage-message").textContent = text;
    byId("stage-message").hidden = !text;
  }

  step(direction) {
    const { shown } = this.model;
    const at = shown.findIndex((pair) => pair.number === this.number) + direction;
    if (at < 0 || at >= shown.length) return say(direction > 0 ? "this was the last pair" : "this was the first pair");
    this.direction = direction;
    return this.show(shown[at].number);
  }

  async decide(verdict) {
    if (this.model.file.read_only) return say("the file is open for looking only", "error");
    const number = this.number;
    const goOn = byId("advance").checked;
    try {
      await this.model.decide([number], verdict);
      say(`${this.model.pairs[number].name}: ${VERDICT_WORDS[verdict]}`);
      if (goOn && this.number === number) await this.step(1);
    } catch (error) {
      say(error.message, "error");
    }
  }

  async saveNote() {
    const { pair } = this, note = byId("note").value;
    if (!pair || this.model.file.read_only || note.trim() === pair.note) return;
    try {
      await this.model.note(pair.number, note);
      say("note saved");
    } catch (error) {
      say(error.message, "error");
    }
  }

  async revertMask() {
    try {
      await this.brush.revert();
      await this.show(this.number);
      say("back to the stored mask");
    } catch (error) {
      say(error.message, "error");
    }
  }

  setMode(mode) {
    this.stage.setMode(mode);
    this.showTools();
  }

  setMaskMode(mode) {
    this.stage.maskMode = mode;
    this.stage.redraw();
    this.showTools();
  }

  nextMaskMode() {
    this.setMaskMode(MASK_MODES[(MASK_MODES.indexOf(this.stage.maskMode) + 1) % MASK_MODES.length]);
  }

  /** Take up a tool; the one in hand is put down. */
  setTool(tool) {
    if (this.model.file.read_only && tool) return;
    this.tool = tool === this.tool ? null : tool;
    this.brush.setTool(this.tool);
    this.showTools();
  }

  /** Take the last stroke back; where there is none, the last verdict. */
  async undo() {
    if (!this.brush.undo()) {
      try {
        const [number] = await this.model.undo();
        say(number === undefined ? "nothing to take back" : `verdict taken back: ${this.model.pairs[number].name}`);
        if (number !== undefined) await this.show(number);
      } catch (error) {
        say(error.message, "error");
      }
    }
    this.showTools();
  }

  redo() {
    if (!this.brush.redo()) say("nothing to do again");
    this.showTools();
  }

  resizeBrush(factor) {
    this.brush.resize(factor);
    byId("brush-size").value = (100 * Math.log(this.brush.radius)) / Math.log(400);
  }

  showTools() {
    const press = (selector, key, value) => {
      for (const found of this.box.querySelectorAll(selector)) found.setAttribute("aria-pressed", String(found.dataset[key] === value));
    };
    press("[data-mode]", "mode", this.stage.mode);
    press("[data-mask]", "mask", this.stage.maskMode);
    press("[data-tool]", "tool", this.tool ?? "");
    byId("undo").disabled = !this.brush.done?.length;
    byId("redo").disabled = !this.brush.redoable?.length;
  }

  showZoom() {
    byId("zoom-level").textContent = `${Math.round(100 * this.stage.view.scale * (devicePixelRatio || 1))} %`;
    byId("zoom-fit").textContent = this.stage.fitted ? "100 %" : "Fit";
  }

  about() {
    const { pair } = this;
    const at = this.model.shown.indexOf(pair);
    byId("about-position").textContent = at < 0 ? "not among those shown" : `${at + 1} of ${this.model.shown.length}`;
    byId("about-name").textContent = pair.name;
    byId("about-scene").textContent = `${pair.scene} · ${pair.split} · ${pair.width} × ${pair.height}`;
    for (const found of byId("verdicts").children) found.setAttribute("aria-pressed", String(found.dataset.verdict === pair.verdict));
    byId("about-by").textContent = `${VERDICT_WORDS[pair.verdict]} by ${pair.by}`;
    byId("about-reasons").textContent = pair.reasons;
    if (document.activeElement !== byId("note")) byId("note").value = pair.note;
    const doubtful = this.model.doubtful(pair);
    byId("about-mask").textContent = doubtful ? `${MASK_WORDS[pair.mask]}, doubtful: look at it` : MASK_WORDS[pair.mask];
    byId("about-mask").classList.toggle("doubtful", doubtful);
    byId("revert-mask").hidden = this.model.file.read_only || pair.mask_version === "stored";
    byId("canvas").setAttribute("aria-label", `Pair ${pair.scene}/${pair.name}, ${this.stage.mode} view`);
    byId("about-measures").tBodies[0].replaceChildren(...this.model.measures.filter((key) => pair.values[key] !== undefined)
      .map((key) => make("tr", {}, make("th", { scope: "row" }, title(key)), make("td", {}, readable(pair.values[key])))));
  }
}
