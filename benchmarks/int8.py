"""Accuracy and size of int8: python -m benchmarks.int8 WEIGHTS --calibrate LIST --test LIST [--json]

Exports WEIGHTS as .onnx in fp32 and in int8, calibrated with clips of one list, and runs both on all clips of another
one. Prints the sizes, how many clips keep their top-1 class, and the accuracies.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track

from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.rows import ClipList
from teinet.data.lists.splits import load_splits
from teinet.data.view_loading import load_views
from teinet.export.parity import compare_logits
from teinet.recognition import Recognizer


def all_clips(path: str, names: list[str]) -> ClipList:
    """Return the only split of a list, with the classes of a network."""
    (clips,) = load_splits(DataConfig(path=path, val_share=0.0), names).values()
    return clips


def main() -> None:
    """Export, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--calibrate", required=True, help="list or folder of clips")
    parser.add_argument("--test", required=True, help="list or folder of other clips")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    recognizer = Recognizer.load(args.weights, device="cpu")
    names = list(recognizer.class_names)
    clips, calibration = all_clips(args.test, names), all_clips(args.calibrate, names)
    if both := set(clips.clip_hashes()) & set(calibration.clip_hashes()):
        parser.error(f"{len(both)} clips are in both lists")
    with tempfile.TemporaryDirectory() as folder:
        files = {precision: Path(folder) / f"{precision}.onnx" for precision in ("fp32", "int8")}
        for precision, file in files.items():
            recognizer.export(file, precision=precision, data=args.calibrate)
        networks = {precision: Recognizer.load(file) for precision, file in files.items()}
        logits: dict[str, list[np.ndarray]] = {precision: [] for precision in files}
        for index in track(range(len(clips)), "clips"):
            views = load_views(
                clips.paths[index], recognizer.sampling, recognizer.preprocessing, "1x1", *clips.span(index)
            )
            for precision, network in networks.items():
                logits[precision].append(network.logits(views.frames)[0])
        sizes = {precision: file.stat().st_size / 1e6 for precision, file in files.items()}
    found = {precision: np.stack(each) for precision, each in logits.items()}
    parity = compare_logits(found["int8"], found["fp32"])
    right = {precision: float((each.argmax(1) == clips.labels).mean()) for precision, each in found.items()}
    if args.json:
        print(json.dumps({"megabytes": sizes, "parity": parity.to_dict(), "top1": right}, indent=2))
        return
    for precision in files:
        print(f"{precision}: {sizes[precision]:.2f} MB, top-1 {100 * right[precision]:.1f} %")
    print(parity)


if __name__ == "__main__":
    main()
