// The statistics of the file as its readers see it now, and their plots.

import { readStatistics } from "./api.js";
import { byId, make, readable, title } from "./dom.js";

const PLOT_WORDS = { "blurred-area": "Blurred share of the picture", verdicts: "Verdicts", measures: "Quality measures" };

export async function showStatistics() {
  const box = byId("statistics-content");
  box.replaceChildren(make("p", {}, "counting …"));
  byId("statistics").showModal();
  try {
    const { splits, plots } = await readStatistics();
    box.replaceChildren(table(splits), ...plots.map((name) => make("img", {
      src: `/api/statistics/${name}.png?at=${Date.now()}`, alt: `Plot: ${PLOT_WORDS[name] ?? name}`, class: "plot" })));
  } catch (error) {
    box.replaceChildren(make("p", {}, error.message));
  }
}

function table(splits) {
  const percent = (share) => (share === undefined ? "–" : `${readable(100 * share)} %`);
  const rows = [
    ["pairs", (found) => found.pairs],
    ["scenes", (found) => found.scenes],
    ...["accept", "reject", "undecided"].map((verdict) => [verdict, (found) => found.verdicts[verdict]]),
    ["with a mask", (found) => found.masked],
    ["mask by hand", (found) => found.mended],
    ["blurred area, mean", (found) => percent(found.blurred_area?.mean)],
    ["blurred area, median", (found) => percent(found.blurred_area?.median)],
  ];
  const measures = [...new Set(Object.values(splits).flatMap((found) => Object.keys(found.measures)))].sort();
  for (const key of measures) rows.push([`${title(key)}, median`, (found) => readable(found.measures[key]?.median)]);
  const columns = Object.entries(splits);
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, ""), ...columns.map(([name]) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map(([words, value]) => make("tr", {}, make("th", { scope: "row" }, words),
      ...columns.map(([, found]) => make("td", {}, String(value(found)))))))));
}
