// The statistics of the file as its readers see it now, and their plots.

import { readStatistics } from "./api.js";
import { byId, make, readable, title } from "./dom.js";
import { VERDICTS, VERDICT_WORDS } from "./model.js";

const PLOT_WORDS = { "blurred-area": "Blurred share of the picture", "blur-length": "Length of the blur", verdicts: "Verdicts", measures: "Quality measures" };

export async function showStatistics() {
  const box = byId("statistics-content");
  box.replaceChildren(make("p", {}, "counting …"));
  byId("statistics").showModal();
  try {
    const { splits, plots } = await readStatistics();
    const measures = [...new Set(Object.values(splits).flatMap((found) => Object.keys(found.measures)))].sort();
    const medians = measures.map((key) => [title(key), (found) => readable(found.measures[key]?.median)]);
    box.replaceChildren(table(splits, counts()), ...plots.map((name) => make("img", {
      src: `/api/statistics/${name}.png?at=${Date.now()}`, alt: `Plot: ${PLOT_WORDS[name] ?? name}`, class: "plot" })),
      ...(measures.length ? [make("h3", {}, "Medians of the measures"), table(splits, medians)] : []));
  } catch (error) {
    box.replaceChildren(make("p", {}, error.message));
  }
}

function counts() {
  const percent = (share) => (share === undefined ? "–" : `${readable(100 * share)} %`);
  const pixels = (length) => (length === undefined ? "–" : `${readable(length)} px`);
  return [
    ["pairs", (found) => found.pairs],
    ["scenes", (found) => found.scenes],
    ...VERDICTS.map((verdict) => [VERDICT_WORDS[verdict], (found) => found.verdicts[verdict]]),
    ["with a mask", (found) => found.masked],
    ["mask by hand", (found) => found.mended],
    ["doubtful mask", (found) => found.doubtful],
    ["blurred area, mean", (found) => percent(found.blurred_area?.mean)],
    ["blurred area, median", (found) => percent(found.blurred_area?.median)],
    ["blur length, mean", (found) => pixels(found.blur_length_px?.mean)],
    ["blur length, median", (found) => pixels(found.blur_length_px?.median)],
    ["pairs sampled for it", (found) => found.lengths_sampled],
  ];
}

function table(splits, rows) {
  const columns = Object.entries(splits);
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, ""), ...columns.map(([name]) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map(([words, value]) => make("tr", {}, make("th", { scope: "row" }, words),
      ...columns.map(([, found]) => make("td", {}, String(value(found)))))))));
}
