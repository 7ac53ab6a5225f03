"""What predict takes without PyTorch: python -m benchmarks.small_install FILE.onnx CLIP [--repeats N] [--json]

Installs what docs/how-to/export.md names (teinet alone, onnxruntime, av, numpy, pillow, rich) into a fresh environment,
prints what each package takes on the disk, and times `teinet predict FILE.onnx CLIP` from its start to its end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median

from teinet.utils.machine import machine

PACKAGES = ("onnxruntime", "av", "numpy", "pillow", "rich")


def megabytes(files: list[Path]) -> float:
    """Return the size of files in MB (10^6 bytes)."""
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def main() -> None:
    """Install, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="an .onnx file of `teinet export`")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        site = next(Path(folder).glob("lib/python*/site-packages"))
        pip = {file for file in site.rglob("*") if file.is_file()}
        install = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
        subprocess.run([*install, "--no-deps", Path(__file__).parents[1]], check=True)
        subprocess.run([*install, *PACKAGES], check=True)
        parts: dict[str, list[Path]] = {}
        for file in site.rglob("*"):
            if file not in pip:
                parts.setdefault(file.relative_to(site).parts[0].split(".")[0].split("-")[0], []).append(file)
        sizes = {name: round(megabytes(files), 1) for name, files in parts.items()}
        seconds = []
        command = [Path(folder) / "bin" / "teinet", "predict", args.model.resolve(), args.clip.resolve()]
        for _ in range(args.repeats):
            began = time.perf_counter()
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - began)
    sizes = dict(sorted(sizes.items(), key=lambda each: -each[1]))
    found = {
        "machine": machine(), "total_mb": round(sum(sizes.values()), 1), "mb": sizes,
        "seconds": {"first": seconds[0], "median": median(seconds), "low": min(seconds), "high": max(seconds)},
    }  # fmt: skip
    if args.json:
        json.dump(found, sys.stdout, indent=2)
        return
    print(f"{found['total_mb']} MB: " + ", ".join(f"{name} {size}" for name, size in sizes.items() if size >= 1))
    print(
        f"to the answer: {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}); the first {seconds[0]:.2f}"
    )


if __name__ == "__main__":
    main()
