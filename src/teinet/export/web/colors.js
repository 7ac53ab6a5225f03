// Colors of a decoded frame, converted as in Python.

const WEIGHTS = { bt709: [0.2126, 0.0722], "bt2020-ncl": [0.2627, 0.0593] }; // of red and blue in the brightness
const SDTV = [0.299, 0.114]; // what FFmpeg assumes of a file that does not say

/**
 * Return RGB (H, W, 3) of 8-bit planes with half the colors (I420, or NV12). The arithmetic is that of FFmpeg's x86 code,
 * which cuts each product to an integer: the difference of a level would change scores by some hundredths.
 */
export function rgbOf(data, planes, format, width, height, { matrix, fullRange }) {
  const [red, blue] = WEIGHTS[matrix] ?? SDTV, green = 1 - red - blue, wide = fullRange ? 1 : 255 / 224;
  const fixed = factor => Math.round(8192 * factor);
  const light = fixed(fullRange ? 1 : 255 / 219), black = fullRange ? 0 : 16;
  const [fromV, fromU] = [fixed(2 * (1 - red) * wide), fixed(2 * (1 - blue) * wide)];
  const [lessU, lessV] = [fixed(2 * blue * (1 - blue) / green * wide), fixed(2 * red * (1 - red) / green * wide)];
  const out = new Uint8ClampedArray(3 * width * height), step = format === "NV12" ? 2 : 1;
  const [luma, chromaU] = planes, chromaV = planes[2] ?? { ...chromaU, offset: chromaU.offset + 1 };
  for (let y = 0, to = 0; y < height; y++) {
    const rowY = luma.offset + y * luma.stride, rowU = chromaU.offset + (y >> 1) * chromaU.stride;
    const rowV = chromaV.offset + (y >> 1) * chromaV.stride;
    for (let x = 0; x < width; x++) {
      const Y = (data[rowY + x] - black) * 8 * light >> 16, at = (x >> 1) * step;
      const U = (data[rowU + at] - 128) * 8, V = (data[rowV + at] - 128) * 8;
      out[to++] = Y + (V * fromV >> 16);
      out[to++] = Y + (U * -lessU >> 16) + (V * -lessV >> 16);
      out[to++] = Y + (U * fromU >> 16);
    }
  }
  return new Uint8Array(out.buffer);
}
