// A soft mask as a picture to lay over the pair: filled, or its outline.

export const BLURRED = 128; // a mask value of 128 and above is blurred

const rgba = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const OUTLINE = rgba(255, 140, 40, 255);
const TINT = Uint32Array.from({ length: 256 }, (_, value) => {
  if (value >= BLURRED) return rgba(255, 120, 30, 60 + Math.round((70 * (value - BLURRED)) / 127));
  return value ? rgba(70, 170, 255, 20 + Math.round((60 * value) / 127)) : 0;
});

export class MaskLayer {
  constructor(mask, width, height) {
    this.mask = mask;
    this.width = width;
    this.height = height;
    this.canvas = new OffscreenCanvas(width, height);
    this.context = this.canvas.getContext("2d");
    this.kind = "";
    this.thickness = 0;
  }

  /** The layer as a canvas: `kind` is "tint" or "outline", the outline `thickness` mask pixels wide. */
  picture(kind, thickness) {
    if (kind !== this.kind || (kind === "outline" && thickness !== this.thickness)) {
      this.kind = kind;
      this.thickness = thickness;
      this.update(0, 0, this.width, this.height);
    }
    return this.canvas;
  }

  /** Paint a rectangle anew after the mask has changed there. */
  update(x0, y0, x1, y1) {
    if (!this.kind) return;
    const beyond = this.kind === "outline" ? this.thickness : 0;
    const left = Math.max(0, x0 - beyond), top = Math.max(0, y0 - beyond);
    const right = Math.min(this.width, x1 + beyond), bottom = Math.min(this.height, y1 + beyond);
    if (right <= left || bottom <= top) return;
    const image = new ImageData(right - left, bottom - top);
    const pixels = new Uint32Array(image.data.buffer);
    if (this.kind === "tint") this.tint(pixels, left, top, right, bottom);
    else this.outline(pixels, left, top, right, bottom);
    this.context.putImageData(image, left, top);
  }

  tint(pixels, left, top, right, bottom) {
    let to = 0;
    for (let y = top; y < bottom; y += 1) {
      const row = y * this.width;
      for (let x = left; x < right; x += 1) pixels[to++] = TINT[this.mask[row + x]];
    }
  }

  outline(pixels, left, top, right, bottom) {
    const { mask, width, height, thickness: t } = this;
    let to = 0;
    for (let y = top; y < bottom; y += 1) {
      const row = y * width, above = Math.max(0, y - t) * width, below = Math.min(height - 1, y + t) * width;
      for (let x = left; x < right; x += 1, to += 1) {
        if (mask[row + x] < BLURRED) continue;
        const inside = mask[above + x] >= BLURRED && mask[below + x] >= BLURRED &&
          mask[row + Math.max(0, x - t)] >= BLURRED && mask[row + Math.min(width - 1, x + t)] >= BLURRED;
        if (!inside) pixels[to] = OUTLINE;
      }
    }
  }
}
