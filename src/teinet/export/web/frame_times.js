// The times of a file's frames, and its colors: from the tables in mp4 and mov; or times from the measured frame rate.

const LARGEST = 1 << 28; // bytes of a table of samples

/**
 * Return { times, matrix } of an mp4 or mov file, null of others: the frames' start times and the end of the last one,
 * seconds, ascending (n + 1); and the matrix of its colors, "" if the file does not say.
 */
export async function readTables(file) {
  try {
    for (let at = 0; at + 16 <= file.size;) {
      const head = new DataView(await file.slice(at, at + 16).arrayBuffer());
      const size = head.getUint32(0) === 1 ? Number(head.getBigUint64(8)) : head.getUint32(0) || file.size - at;
      if (size < 8) return null;
      if (name(head, 4) === "moov") {
        return size > LARGEST ? null : tablesOfMovie(new DataView(await file.slice(at, at + size).arrayBuffer()));
      }
      at += size;
    }
  } catch {} // a table that is damaged, or ends too early
  return null;
}

function tablesOfMovie(view) {
  const moov = boxes(view, 0, view.byteLength).moov[0], inside = boxes(view, ...moov);
  const movieScale = scale(view, inside.mvhd[0][0]);
  for (const trak of inside.trak ?? []) {
    const track = boxes(view, ...trak), media = boxes(view, ...track.mdia[0]);
    if (name(view, media.hdlr[0][0] + 8) !== "vide") continue;
    const table = boxes(view, ...boxes(view, ...media.minf[0]).stbl[0]);
    const perSecond = scale(view, media.mdhd[0][0]);
    const { times, last } = decoded(view, table.stts[0][0]);
    if (!times.length) return null; // a fragmented file, whose tables are between its frames
    if (table.ctts) delay(view, table.ctts[0][0], times);
    let shown = times.sort((a, b) => a - b).map(time => time / perSecond);
    const list = track.edts && boxes(view, ...track.edts[0]).elst;
    if (list) shown = edited(view, list[0][0], shown, movieScale, perSecond);
    return shown.length ? { times: [...shown, shown.at(-1) + last / perSecond], matrix: matrix(view, table.stsd[0]) } : null;
  }
  return null;
}

/** Return the name of the color matrix in the first sample's description (colr), "" if there is none. */
function matrix(view, [start, end]) {
  const colors = boxes(view, start + 8 + 86, Math.min(end, start + 8 + view.getUint32(start + 8))).colr;
  const code = colors && view.getUint16(colors[0][0] + 8);
  return { 1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020-ncl" }[code] ?? "";
}

/** Return {name: [[start, end], ...]} of the boxes in a part of a file. */
function boxes(view, start, end) {
  const found = {};
  while (start + 8 <= end) {
    const small = view.getUint32(start), head = small === 1 ? 16 : 8;
    const size = small === 1 ? Number(view.getBigUint64(start + 8)) : small || end - start;
    if (size < head) break;
    (found[name(view, start + 4)] ??= []).push([start + head, Math.min(start + size, end)]);
    start += size;
  }
  return found;
}

const name = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map(i => view.getUint8(at + i)));
const scale = (view, at) => view.getUint32(at + (view.getUint8(at) === 1 ? 20 : 12)); // of mvhd and mdhd

/** Return the times at which frames are decoded (stts), and the duration of the last one. */
function decoded(view, at) {
  const times = [];
  let time = 0, last = 0;
  for (let i = 0; i < view.getUint32(at + 4); i++) {
    const count = view.getUint32(at + 8 + 8 * i);
    if (times.length + count > LARGEST / 8) throw new RangeError("too many frames");
    last = view.getUint32(at + 12 + 8 * i);
    for (let j = 0; j < count; j++, time += last) times.push(time);
  }
  return { times, last };
}

/** Add to each time how much later the frame is shown (ctts). */
function delay(view, at, times) {
  for (let i = 0, frame = 0; i < view.getUint32(at + 4); i++) {
    const later = view.getInt32(at + 12 + 8 * i);
    for (let count = view.getUint32(at + 8 + 8 * i); count > 0 && frame < times.length; count--) times[frame++] += later;
  }
}

/** Return the times of the frames that the first edit (elst) shows, after its empty ones. */
function edited(view, at, times, movieScale, perSecond) {
  const long = view.getUint8(at) === 1, read = long ? at => Number(view.getBigInt64(at)) : at => view.getInt32(at);
  const size = long ? 8 : 4;
  let empty = 0;
  for (let i = 0, entry = at + 8; i < view.getUint32(at + 4); i++, entry += 2 * size + 4) {
    const seconds = read(entry) / movieScale, from = read(entry + size);
    if (from < 0) {
      empty += seconds;
      continue;
    }
    const start = from / perSecond, end = seconds ? start + seconds : Infinity;
    return times.filter(time => time > start - 1e-4 && time < end - 1e-4).map(time => time - start + empty);
  }
  return times;
}
