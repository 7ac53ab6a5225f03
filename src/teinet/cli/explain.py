"""`teinet explain`: where a network looked in a clip, what its gates let pass, how its kernels mix time; one page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from teinet.cli import options
from teinet.cli.parser import option, positional
from teinet.errors import ConfigError


@dataclass(kw_only=True)
class ExplainOptions(options.WeightsArgument):
    """Write a page that shows where a network looked in a clip, its gates and its temporal kernels.

    teinet explain fights clip.mp4                       fights-clip-explained.html, here
    teinet explain runs/first clip.mp4 --label wave --output wave.html
    """

    video: str = positional("a file, or a folder of numbered images")
    label: str | None = option("the class to draw maps for (default: the best one)")
    output: str | None = option("the page, .html (default: WEIGHTS-CLIP-explained.html, here)", metavar="PAGE")
    overwrite: bool = option(options.OVERWRITE, default=False)
    device: str = option(options.DEVICE, default="auto")
    json: bool = option("print the numbers as JSON; a page only with --output", default=False)


def run(args: ExplainOptions) -> int:
    """Look inside and write the page; return 0. Raises TeinetError for unusable weights or clips."""
    output = args.output or (None if args.json else f"{Path(args.weights).stem}-{Path(args.video).stem}-explained.html")
    if output:
        options.output_form(args, options.PAGE)
        options.check_output(output, [args.video, args.weights], overwrite=args.overwrite)
    options.check_weights(args.weights, multi_label=False)
    if not Path(args.video).exists():
        from teinet.data.video.source import refuse_address  # here, as it imports PyAV

        refuse_address(args.video)
        raise ConfigError(f"{args.video}: no such file or folder")
    from teinet.pages.explained import render_page
    from teinet.recognition import Recognizer
    from teinet.recognition.explanation import look_inside
    from teinet.utils.files import write_text
    from teinet.utils.text import printable

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
    print(printable(f"wrote {output}"))
    return 0
