// Scores of a playing video or the webcam: frames at the frame interval of training, by steps or by windows.

import { FrameSampler, meanScores } from "./sampling.js";
import { Grabber, onFrame, stacked } from "./video.js";

export class Live {
  #grabber;
  #cancel = () => {};
  #run = 0; // counts starts, so that answers for an earlier one are ignored

  /** `show({ time, scores, isStart, frames, ms })` gets each answer and the frames behind it, `fail(error)` what went wrong. */
  constructor(model, { sampling, frame_interval, export: { kind } }, show, fail) {
    Object.assign(this, { model, show, fail, numFrames: sampling.num_frames, steps: kind === "step" });
    this.interval = frame_interval ?? 0.25;
    this.sampler = new FrameSampler(this.interval);
  }

  /** Take frames from a video while it plays; `matrix` as in `Grabber`, `now()` for times other than the video's own. */
  start(video, matrix, now) {
    this.stop();
    this.#grabber = new Grabber(this.numFrames, matrix);
    const run = ++this.#run;
    Object.assign(this, { queue: [], recent: [], busy: false, taken: 0, dropped: 0, size: "" });
    this.sampler.restart();
    const next = async mediaTime => {
      try {
        if (!video.paused || video.srcObject) await this.#take(video, now?.() ?? mediaTime, run);
      } catch (error) {
        this.#end(error, run);
      }
      if (run === this.#run) this.#cancel = onFrame(video, next);
    };
    this.#cancel = onFrame(video, next);
  }

  stop() {
    this.#run++;
    this.#cancel();
  }

  async #take(video, time, run) {
    let verdict = this.sampler.judge(time);
    if (verdict === "skip") return;
    const frame = await this.#grabber.grab(video), size = String(frame.shape);
    if (run !== this.#run) return;
    if (size !== this.size && this.size) verdict = "reset"; // a phone was turned
    this.size = size;
    this.taken++;
    this.queue.push({ ...frame, time, isStart: verdict === "reset" });
    if (!this.steps && verdict === "reset") this.queue.splice(0, this.queue.length - 1);
    while (this.queue.length > this.numFrames) {
      this.queue.shift();
      if (this.steps) this.dropped++; // the model is slower than the video
    }
    this.#pump();
  }

  async #pump() {
    const run = this.#run;
    const enough = this.steps ? this.queue.length : this.queue.length === this.numFrames;
    if (this.busy || !enough) return;
    this.busy = true;
    try {
      for (const answer of await (this.steps ? this.#step() : this.#window())) if (run === this.#run) this.show(answer);
    } catch (error) {
      this.#end(error, run);
    }
    if (run !== this.#run) return;
    this.busy = false;
    if (this.steps && this.queue.length) this.#pump();
  }

  #end(error, run) {
    if (run !== this.#run) return;
    this.stop();
    this.fail(error);
  }

  /** Score the frames that wait, each after those before it. */
  async #step() {
    const frames = [this.queue.shift()];
    while (this.queue.length && !this.queue[0].isStart) frames.push(this.queue.shift());
    const { rows, ms } = await this.model.step(stacked(frames), frames[0].isStart);
    return frames.map(({ time, isStart, image }, k) => {
      const own = { time, image, logits: rows[k] };
      this.recent = isStart ? [own] : [...this.recent, own].slice(-this.numFrames);
      return { time, isStart, frames: this.recent, ms: ms / frames.length, scores: meanScores(this.recent.map(each => each.logits)) };
    });
  }

  /** Score the last T frames. */
  async #window() {
    const frames = [...this.queue], { time } = frames.at(-1), { isStart } = frames[0];
    const { scores, ms } = await this.model.clip(stacked(frames));
    return [{ time, isStart, frames, ms, scores: [...scores] }];
  }
}
