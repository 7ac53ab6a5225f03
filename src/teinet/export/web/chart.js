// Scores of a few classes over time, as a plot.

const SHOWN = 5, POINTS = 1000, FAINT = 0.05;
const STEPS = [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];

export class Chart {
  /** Draw into a section with .plot svg, .axis and .key; `onPick(seconds)` is called for a click. */
  constructor(section, names, onPick) {
    this.svg = section.querySelector("svg");
    this.axis = section.querySelector(".axis");
    this.key = section.querySelector(".key");
    this.names = names;
    this.svg.onclick = event => {
      const box = this.svg.getBoundingClientRect();
      onPick(this.start + (event.clientX - box.left) / box.width * this.length);
    };
    this.clear(1);
  }

  /** Begin again, for a video of `length` seconds; or with `rolling`, for the last `length` seconds of a live one. */
  clear(length, rolling = false) {
    Object.assign(this, { length, rolling, start: 0, points: [], last: null, peaks: this.names.map(() => 0), colors: new Map() });
    this.draw();
  }

  /** Add the scores at a time, in place of earlier ones less than `near` seconds away. */
  add(time, scores, isStart, near) {
    this.last = { time, scores, isStart };
    const before = this.points.filter(point => point.time <= time - near && point.time >= this.start - 1);
    this.points = [...before, this.last, ...this.points.filter(point => point.time >= time + near)];
    if (this.rolling) {
      this.start = Math.max(0, time - this.length);
      this.peaks.fill(0);
    }
    for (const point of this.rolling ? this.points : [this.last]) {
      point.scores.forEach((score, c) => { this.peaks[c] = Math.max(this.peaks[c], score); });
    }
    this.draw();
  }

  draw() {
    const order = this.peaks.map((_, c) => c).sort((a, b) => this.peaks[b] - this.peaks[a]).slice(0, SHOWN);
    const drawn = this.points.length ? order.filter((c, place) => place === 0 || this.peaks[c] >= FAINT) : [];
    for (const c of this.colors.keys()) if (!drawn.includes(c)) this.colors.delete(c);
    for (const c of drawn) {  // a class keeps its color while it is drawn
      if (!this.colors.has(c)) this.colors.set(c, [0, 1, 2, 3, 4].find(color => ![...this.colors.values()].includes(color)));
    }
    const { last } = this, line = (kind, x1, y1, x2, y2) => `<line class="${kind}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;
    const paths = [...drawn].reverse().map(c => `<path class="c${this.colors.get(c)}" d="${this.#path(c)}"/>`);
    const head = last ? line("head", this.#x(last.time), 0, this.#x(last.time), 100) : "";
    this.svg.innerHTML = [0, 50, 100].map(y => line("", 0, y, 1000, y)).join("") + paths.join("") + head;
    this.key.replaceChildren(...drawn.map(c => {
      const item = Object.assign(document.createElement("li"), { className: `c${this.colors.get(c)}` });
      item.append(document.createElement("i"), `${this.names[c]} ${percent(last.scores[c])}`);
      return item;
    }));
    this.#ticks();
  }

  #x(time) {
    return 1000 * (time - this.start) / this.length;
  }

  #path(c) {
    const every = Math.ceil(this.points.length / POINTS), words = [];
    let broken = true;
    this.points.forEach((point, i) => {
      broken ||= point.isStart;
      if (i % every && i < this.points.length - 1) return;
      words.push(`${broken ? "M" : "L"}${this.#x(point.time).toFixed(1)} ${(100 * (1 - point.scores[c])).toFixed(1)}`);
      broken = false;
    });
    return words.length === 1 ? `${words[0]}h2` : words.join("");
  }

  #ticks() {
    const step = STEPS.find(step => this.length / step < 9) ?? this.length / 9, ticks = [];
    for (let t = Math.ceil(this.start / step) * step; t < this.start + 0.95 * this.length; t += step) {
      const tick = Object.assign(document.createElement("span"), { textContent: clock(t, step < 1 ? 1 : 0) });
      tick.style.left = `${this.#x(t) / 10}%`;
      ticks.push(tick);
    }
    this.axis.replaceChildren(...ticks);
  }
}

export const percent = score => `${(100 * score).toFixed(0)} %`;

/** Return seconds as 0:05.2, with so many decimal places. */
export function clock(seconds, places = 1) {
  const rounded = Number(seconds.toFixed(places)); // 59.99 is 1:00.0
  return `${Math.floor(rounded / 60)}:${(rounded % 60).toFixed(places).padStart(places ? 3 + places : 2, "0")}`;
}
