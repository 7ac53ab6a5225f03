// Which frames of a video the model sees; the same numbers as teinet.data.sampling and teinet.detection.sampler.

/** Return the indices of the T frames of a clip, of a video of n >= 1 frames. */
export function testIndices(n, { num_frames: T, strategy = "sparse", window = 64, adjacent = 1 }) {
  const middles = (length, parts) => Array.from({ length: parts }, (_, i) => Math.floor((2 * i + 1) * length / (2 * parts)));
  if (strategy === "dense") {
    const length = Math.min(window, n), start = Math.floor((n - length) / 2);
    return middles(length, T).map(i => Math.min(start + i, n - 1));
  }
  const starts = middles(n, T / adjacent);
  if (adjacent === 1) return starts;
  const rows = starts.map(start => Math.min(start, Math.max(n - adjacent, 0)));
  return rows.flatMap(start => Array.from({ length: adjacent }, (_, i) => Math.min(start + i, n - 1)));
}

/** Takes frames about `interval` seconds apart, each the nearest to its due time. */
export class FrameSampler {
  constructor(interval) {
    this.interval = interval;
    this.gap = Math.max(2, 3 * interval);
    this.restart();
  }

  restart() {
    this.last = null;
    this.due = -Infinity;
  }

  /** Return "take", "skip", or "reset" (take it after a reset of the state) for a frame shown at `time`, in seconds. */
  judge(time) {
    const before = this.last;
    this.last = time;
    if (before === null || !(time - before > 0 && time - before <= this.gap)) {
      this.due = time + this.interval;
      return "reset";
    }
    const early = Math.min(time - before, this.interval) / 2; // the next frame would be farther off
    if (time < this.due - early) return "skip";
    this.due = (time - this.due < this.interval ? this.due : time) + this.interval;
    return "take";
  }
}

/** Return the softmax of the mean of some frames' logits. */
export function meanScores(rows) {
  const mean = Array.from(rows[0], (_, c) => rows.reduce((sum, row) => sum + row[c], 0) / rows.length);
  const top = Math.max(...mean), powers = mean.map(value => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map(value => value / sum);
}
