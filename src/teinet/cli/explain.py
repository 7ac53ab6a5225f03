"""`teinet explain`: where a network looked in a clip, what its gates let pass, how its kernels mix time; one page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add = parser.add_argument
    add("weights", help="a run's folder (its last weights) or a .safetensors file")
    add("video", help="a file, or a folder of numbered images")
    add("--label", default=None, help="the class to draw maps for (default: the best one)")
    add("--output", default=None, metavar="PAGE", help="by default CLIP-explained.html, here")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add("--json", action="store_true", help="print the numbers as JSON; a page only with --output")


def run(args: argparse.Namespace) -> int:
    """Look inside and write the page; returns 0. Raises TeinetError for unusable weights or clips."""
    from teinet.cli.options import check_output
    from teinet.pages.explained import render_page
    from teinet.recognition import Recognizer
    from teinet.recognition.explanation import look_inside
    from teinet.utils.files import write_text
    from teinet.utils.text import printable

    output = args.output or (None if args.json else f"{Path(args.video).stem}-explained.html")
    if output:
        check_output(output, [args.video, args.weights])
    recognizer = Recognizer.load(args.weights, device=args.device)
    inside = look_inside(recognizer, args.video, label=args.label)
    license = recognizer.header.get("license") or ""
    if output:
        page = render_page(
            inside,
            clip=Path(args.video).name,
            weights=str(args.weights),
            network=recognizer.header["architecture"]["name"],
            license=license,
        )
        write_text(output, page, errors="replace")
    if args.json:
        print(json.dumps({**inside.to_dict(), "license": license}, indent=2))
        return 0
    best = ", ".join(f"{name} {100 * score:.1f} %" for name, score in inside.labels[:3])
    print(printable(f"{args.video}: {best}"))
    print(printable(f"page: {output}"))
    if license:
        print(printable(f"license of the weights: {license}"))
    return 0
