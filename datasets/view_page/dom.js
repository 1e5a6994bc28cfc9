// Small helpers to build and find elements.

export const byId = (id) => document.getElementById(id);

/** An element with properties (`class`, `data`, `aria...`, on-handlers, others as attributes) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A number as people read it: three digits, no endless fractions. */
export function readable(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return value.toFixed(0);
  if (size < 0.001) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

/** The name of a measure in words: "residual_p95_px" becomes "residual p95 (px)". */
export function title(key) {
  if (key === "blurred_area") return "blurred area (%)";
  const unit = key.match(/_(px|db|ms|s)$/);
  const words = (unit ? key.slice(0, -unit[0].length) : key).replaceAll("_", " ").replace("psnr", "PSNR");
  return unit ? `${words} (${unit[1] === "db" ? "dB" : unit[1]})` : words;
}

let fading = 0;

/** Say something in the corner of the page, for a while; errors stay longer. */
export function say(text, kind = "") {
  const status = byId("status");
  status.textContent = text;
  status.className = text ? `shown ${kind}` : "";
  clearTimeout(fading);
  if (text) fading = setTimeout(() => say(""), kind === "error" ? 8000 : 2200);
}
