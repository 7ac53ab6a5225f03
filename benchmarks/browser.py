"""Measures an exported browser page in headless Chromium: python -m benchmarks.browser WEIGHTS PAGE CLIPS... [--json]

PAGE is what `teinet export WEIGHTS --format web` wrote, CLIPS are videos or folders of them. It prints

agreement  clips with the same top-1 class and the same frames in Python and in the page, and the largest differences of
           a probability
time       milliseconds of a clip, and of a step of a causal network: by the clock (median of --rounds), and of the
           processor, which other load lengthens less
size       bytes of what a first visit loads, as they are and by gzip

Let nothing else run meanwhile. Needs Chromium, and websockets.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chromium import Browser, find_chromium, serving
from teinet import Recognizer
from teinet.data.find_videos import find_videos
from teinet.export.web_page import RUNTIME
from teinet.utils.machine import machine

GPU_ALONE = [name for name in RUNTIME.values() if "asyncify" in name or "webgpu" in name]
RESULT = "document.documentElement.dataset.state === 'done' && teinet.result"
PROBLEM = "document.documentElement.dataset.state === 'problem' && document.getElementById('problem').textContent"
MODEL = """(async () => {
  const { Model } = await import("./model.js");
  globalThis.timed = new Model(() => {});
  const header = await timed.describe();
  await timed.start("wasm");
  const { size } = header.preprocessing, [height, width] = Array.isArray(size) ? size : [size, size];
  globalThis.times = async (kind, rounds) => {
    const K = kind === "clip" ? header.sampling.num_frames : 1, shape = [1, K, height, width, 3], found = [];
    for (let i = 0; i < rounds; i++) {
      const pixels = new Uint8Array(K * height * width * 3).map((_, i) => (i * 7919) % 251);
      found.push((await timed[kind]({ pixels, shape })).ms);
    }
    return found;
  };
  return { kinds: header.export.kind === "step" ? ["clip", "step"] : ["clip"], threads: timed.threads };
})()"""


def recognized(browser: Browser, path: Path, seconds: float = 120) -> dict[str, Any]:
    """Give the page a video; return its result, or {"error": ...}."""
    browser.evaluate("teinet.result = null")
    browser.choose("#file", path)
    problem = browser.until(f"({RESULT}) && 'no' || ({PROBLEM})", seconds)
    return browser.evaluate("teinet.result") if problem == "no" else {"error": problem}


def compare(browser: Browser, recognizer: Recognizer, paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Return of each video how the page's result differs from the recognizer's."""
    rows = []
    for path in paths:
        ours, page = recognizer(path), recognized(browser, path)
        assert ours.scores is not None
        if "error" in page:
            rows.append({"path": str(path), "error": page["error"]})
            continue
        indices = np.asarray(ours.frame_indices)[0]
        rows.append(
            {
                "path": str(path),
                "same_top1": int(np.argmax(page["scores"])) == int(ours.scores.argmax()),
                "difference": float(np.abs(np.asarray(page["scores"]) - ours.scores).max()),
                "frames_off": int(np.abs(np.asarray(page["frame_indices"]) - indices).max()),
                "shown_off": shown_off(page, ours),
                "num_frames": [page["num_frames"], ours.num_frames],
                "read_ms": page["read_ms"],
                "ms": page["ms"],
            }
        )
    return rows


def shown_off(page: dict[str, Any], ours: Any) -> float | None:
    """Return the most seconds between the frames that the browser says it showed and those that Python took."""
    pairs = [(a, b) for a, b in zip(page["shown"], np.asarray(ours.times)[0]) if a is not None]
    return max((abs(a - float(b)) for a, b in pairs), default=None)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what `compare` found, in a few numbers."""
    read = [row for row in rows if "error" not in row]
    differences = [row["difference"] for row in read]
    return {
        "clips": len(rows),
        "errors": [row for row in rows if "error" in row],
        "same_top1": sum(row["same_top1"] for row in read),
        "same_frames": sum(row["frames_off"] == 0 for row in read),
        "most_frames_off": max((row["frames_off"] for row in read), default=None),
        "median_difference": statistics.median(differences) if read else None,
        "largest_difference": max(differences, default=None),
        "median_read_ms": statistics.median(row["read_ms"] for row in read) if read else None,
    }


def timing(browser: Browser, kind: str, rounds: int) -> dict[str, float]:
    """Return the milliseconds of a "clip" or a "step" of the model that MODEL started."""
    browser.evaluate(f"times('{kind}', 5)")
    before = browser.cpu_seconds()
    found = browser.evaluate(f"times('{kind}', {rounds})")
    spent = 1000 * (browser.cpu_seconds() - before) / rounds
    return {"median": statistics.median(found), "least": min(found), "most": max(found), "processor": spent}


def sizes(folder: Path) -> dict[str, dict[str, int]]:
    """Return the bytes of the page's files, and of all that a visit on the CPU and on the GPU loads."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    found = {name: {"raw": len(data), "gzip": len(gzip.compress(data, 9))} for name, data in files.items()}
    names = {"cpu": [n for n in found if Path(n).name not in GPU_ALONE]}
    names["gpu"] = [n for n in found if Path(n).name not in set(RUNTIME.values()) - set(GPU_ALONE)]
    total = {
        f"visit {kind}": {how: sum(found[n][how] for n in own) for how in ("raw", "gzip")}
        for kind, own in names.items()
    }
    return found | total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("page", type=Path)
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--limit", type=int, help="take so many of the clips, evenly spread")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    program = find_chromium()
    if program is None:
        parser.error("there is no Chromium on the path")
    paths = find_videos(args.clips) if args.clips else []
    if args.limit:
        paths = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, args.limit).astype(int))]
    with serving(args.page) as (address, _), Browser(program) as browser:
        browser.open(address)
        browser.until("globalThis.teinet && document.documentElement.dataset.state === 'ready'", 120)
        rows = compare(browser, Recognizer.load(args.weights, device="cpu"), paths)
        browser.evaluate("document.getElementById('video').pause()")
        timed = browser.evaluate(MODEL)
        times = {kind: timing(browser, kind, args.rounds) for kind in timed["kinds"]}
    found = {
        "weights": args.weights, "agreement": summary(rows), "threads": timed["threads"],
        "milliseconds": times,
        "bytes": sizes(args.page), "machine": machine(),
    }  # fmt: skip
    if args.json:
        print(json.dumps(found | {"rows": rows}, indent=1))
        return
    if rows:
        print("agreement", *(f"  {name}: {value}" for name, value in found["agreement"].items()), sep="\n")
    for kind, t in times.items():
        clock = f"{t['median']:.1f} ms ({t['least']:.1f} to {t['most']:.1f})"
        print(f"{kind}: {clock}, of the processor {t['processor']:.1f} ms, {timed['threads']} thread(s)")
    for name, size in found["bytes"].items():
        if size["raw"] > 1e5:
            print(f"{name}: {size['raw'] / 1e6:.2f} MB, {size['gzip'] / 1e6:.2f} by gzip")


if __name__ == "__main__":
    main()
