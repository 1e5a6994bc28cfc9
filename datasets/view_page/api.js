// Everything the page asks of its server. The token travels in a cookie that scripts cannot see.

async function asked(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, credentials: "same-origin" });
  } catch {
    throw new Error("view-dataset does not answer; it was ended in its terminal, perhaps");
  }
  if (answer.ok) return answer;
  let message = `${answer.status} ${answer.statusText}`;
  try {
    const text = await answer.text();
    message = text.startsWith("{") ? JSON.parse(text).error : text.trim() || message;
  } catch { /* the status will do */ }
  throw Object.assign(new Error(message), { status: answer.status });
}

const readJson = async (path, options) => (await asked(path, options)).json();

export const readFile = () => readJson("/api/file");
export const readPairs = () => readJson("/api/pairs");
export const readAreas = () => readJson("/api/areas");
export const readStatistics = () => readJson("/api/statistics");

let identity = "";
export const setIdentity = (value) => { identity = value; };

const pair = (number) => `/api/pairs/${number}`;
export const thumbnailUrl = (number) => `${pair(number)}/thumbnail?of=${identity}`;
export const cellsUrl = (number, version) => `${pair(number)}/cells?of=${identity}&version=${encodeURIComponent(version)}`;

async function bitmap(path) {
  const answer = await asked(path);
  return createImageBitmap(await answer.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

export const readPicture = (number, which) => bitmap(`${pair(number)}/picture/${which}?of=${identity}`);

export const readWindow = (number, which, box) =>
  bitmap(`${pair(number)}/window/${which}?of=${identity}&y=${box.y}&x=${box.x}&height=${box.height}&width=${box.width}`);

/** What may change about a pair, as it stands now. */
export const readRow = (number) => readJson(pair(number));

/** The soft mask, one byte per pixel. */
export async function readMask(number, version) {
  const answer = await asked(`${pair(number)}/mask?of=${identity}&version=${encodeURIComponent(version)}`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** Write a verdict, a note or both; the row as it stands then. */
export const decide = (number, change) =>
  readJson(pair(number), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(change),
  });

/** Write a mask (null: back to the stored one), made from the one of `version`; the row as it stands then. */
export async function writeMask(number, mask, version) {
  const headers = { "if-match": version };
  if (mask === null) return readJson(`${pair(number)}/mask`, { method: "DELETE", headers });
  const packed = new Blob([mask]).stream().pipeThrough(new CompressionStream("gzip"));
  const body = await new Response(packed).arrayBuffer();
  headers["content-type"] = "application/octet-stream";
  return readJson(`${pair(number)}/mask`, { method: "PUT", headers, body });
}
