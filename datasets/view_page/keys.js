// The keys: one table, used for acting and for the help.

import { byId, make } from "./dom.js";

/** `bindings`: [{ where, keys, shown, words, act, up }]; `where` is "list", "pair" or "everywhere". */
export class Keys {
  constructor(bindings, place) {
    this.bindings = bindings;
    this.place = place;
    document.addEventListener("keydown", (event) => this.pressed(event, "act"));
    document.addEventListener("keyup", (event) => this.pressed(event, "up"));
  }

  pressed(event, which) {
    if (document.querySelector("dialog[open]") || isTyping(event.target)) return;
    if (event.target.type === "range" && event.key.startsWith("Arrow")) return; // they move the slider
    const name = keyName(event), place = this.place();
    const binding = this.bindings.find((found) => (found.where === place || found.where === "everywhere") && found.keys.includes(name));
    if (!binding?.[which]) return;
    if (isButton(event.target) && (name === "Enter" || name === " ")) return; // it presses the button
    event.preventDefault();
    binding[which](event);
  }

  showHelp() {
    const titles = { everywhere: "Everywhere", list: "In the list", pair: "With one pair" };
    byId("help-keys").replaceChildren(...Object.entries(titles).map(([where, words]) => make("section", {}, make("h3", {}, words),
      make("dl", {}, ...this.bindings.filter((binding) => binding.where === where && binding.words).flatMap((binding) => [
        make("dt", {}, ...binding.shown.split(" ").map((key) => make("kbd", {}, key))), make("dd", {}, binding.words)])))));
    byId("help").showModal();
  }
}

function isTyping(target) {
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement ||
    (target instanceof HTMLInputElement && !["checkbox", "range", "button"].includes(target.type));
}

const isButton = (target) => target instanceof HTMLButtonElement || target?.tagName === "SUMMARY" || target?.type === "checkbox";

function keyName(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const control = event.ctrlKey || event.metaKey ? "Control+" : "";
  const shift = event.shiftKey && (control || key.length > 1) ? "Shift+" : "";
  return control + shift + (event.altKey ? "Alt+" : "") + key;
}
