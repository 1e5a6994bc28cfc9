// Pictures of the pairs around the one that is looked at: fetched ahead, the last few kept.

import * as api from "./api.js";

const KEPT = 7;

export class Pictures {
  constructor(model) {
    this.model = model;
    this.entries = new Map();
  }

  /** The two pictures and the mask of a pair: { blurred, sharp, mask }; mask is null where there is none. */
  async get(number) {
    const pair = this.model.pairs[number];
    const entry = this.entry(number);
    const [blurred, sharp] = await Promise.all([entry.blurred, entry.sharp]);
    return { blurred, sharp, mask: await this.mask(pair) };
  }

  /** Fetch a pair ahead; whatever fails will fail again, and be told, when it is looked at. */
  async prefetch(number) {
    if (number === undefined || this.entries.has(number)) return;
    try {
      await this.get(number);
    } catch { /* see above */ }
  }

  async mask(pair) {
    if (!pair.mask) return null;
    const entry = this.entry(pair.number);
    if (entry.version !== pair.mask_version) {
      entry.version = pair.mask_version;
      entry.mask = api.readMask(pair.number, pair.mask_version);
      entry.mask.catch(() => { entry.version = null; });
    }
    return entry.mask;
  }

  /** Remember a mask that was just written. */
  keepMask(number, mask, version) {
    Object.assign(this.entry(number), { mask: Promise.resolve(mask), version });
  }

  entry(number) {
    let entry = this.entries.get(number);
    if (!entry) {
      entry = { blurred: api.readPicture(number, "blurred"), sharp: api.readPicture(number, "sharp"), version: null };
      for (const picture of [entry.blurred, entry.sharp]) picture.catch(() => this.entries.delete(number));
    }
    this.entries.delete(number);
    this.entries.set(number, entry);
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= KEPT) break;
      this.entries.delete(oldest); // its bitmaps go with it: they may still be on the screen
    }
    return entry;
  }
}
