// Scores of a few classes over time, as a plot.

const SHOWN = 5, POINTS = 1000, FAINT = 0.05;
const STEPS = [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];
const SVG = "http://www.w3.org/2000/svg";

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
    let place = this.points.length;
    while (place && this.points[place - 1].time > time - near) place--;
    const until = this.points.findIndex((point, i) => i >= place && point.time >= time + near);
    this.last = { time, scores, isStart };
    this.points.splice(place, (until < 0 ? this.points.length : until) - place, this.last);
    if (this.rolling) {
      this.start = Math.max(0, time - this.length);
      while (this.points[0].time < this.start - 1) this.points.shift();
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
    const { last } = this;
    const lines = [0, 50, 100].map(y => shape("line", { x1: 0, x2: 1000, y1: y, y2: y }));
    const paths = [...drawn].reverse().map(c => shape("path", { class: `c${this.colors.get(c)}`, d: this.#path(c) }));
    const head = last ? [shape("line", { class: "head", x1: this.#x(last.time), x2: this.#x(last.time), y1: 0, y2: 100 })] : [];
    this.svg.replaceChildren(...lines, ...paths, ...head);
    this.key.replaceChildren(...drawn.map(c => {
      const item = document.createElement("li");
      item.className = `c${this.colors.get(c)}`;
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
      const tick = document.createElement("span");
      tick.style.left = `${this.#x(t) / 10}%`;
      tick.textContent = clock(t, step < 1 ? 1 : 0);
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

function shape(kind, attributes) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
