"""`teinet export`: a recognizer as a file that runs without this library."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from teinet.cli import options
from teinet.cli.parser import option
from teinet.data.lists.data_config import DataConfig, check_path
from teinet.errors import ConfigError
from teinet.export.formats import FORMATS, check_precision, find_format, output_path
from teinet.models.header import pretrained_file
from teinet.utils.text import printable


@dataclass(kw_only=True)
class ExportOptions(options.WeightsArgument):
    """Export a recognizer to a file that runs without this library and without PyTorch.

    teinet export fights                         fights.onnx, for teinet predict fights.onnx clip.mp4
    teinet export runs/first --format openvino
    teinet export runs/first --precision int8    a third of the size
    teinet export fights_causal --format web     a page that recognizes in the browser
    """

    format: str = option("kind of file: onnx, openvino or web; without WEIGHTS the command lists them", default="onnx")
    precision: options.Precision = option(
        "fp32 (default); fp16: weights of half the size (default of web); int8: feature maps too, calibrated with "
        "training clips other than those that it is compared on",
        default="auto",
    )
    output: str | None = option("file to write (default: named after the weights, in this folder)", metavar="FILE")
    data: str | None = option(
        "list or folder of training clips to compare on and to calibrate int8 with (default: the run's own, else "
        "drawn ones)"
    )
    runtime: str | None = option(
        "with --format web: onnxruntime-web's .tgz or folder (default: npm downloads it once)", metavar="PATH"
    )
    overwrite: bool = option(options.OVERWRITE, default=False)
    json: bool = option("print a JSON object", default=False)

    @staticmethod
    def explain_missing(command: str, words: Sequence[str]) -> None:
        """Print the formats and the pretrained models, unless the first word names weights."""
        options.WeightsArgument.explain_missing(command, words)
        if not any(pretrained_file(word) for word in words):
            print("Formats:", file=sys.stderr)
            for each in FORMATS:
                holds = ", ".join(each.precisions)
                print(f"  --format {each.name:<12}{holds:<20}{each.runs}", file=sys.stderr)


def run(args: ExportOptions) -> int:
    """Export, compare, and print the result; return 0. Where the answers differ there is no file."""
    chosen = find_format(args.format)
    precision = check_precision(chosen, None if args.precision == "auto" else args.precision)
    path = output_path(chosen, args.output, args.weights)
    options.check_weights(args.weights, multi_label=False)
    if args.runtime and chosen.name != "web":
        raise ConfigError("--runtime belongs to --format web")
    if chosen.suffix:
        options.check_output(str(path), [args.weights], overwrite=args.overwrite)
        if chosen.name == "openvino":
            options.keep_existing([path.with_suffix(".bin")], overwrite=args.overwrite)
    else:
        options.keep_existing([path / "index.html"], overwrite=args.overwrite)
    data = DataConfig(path=str(check_path(args.data))) if args.data else None
    from rich.console import Console

    from teinet.export.exporting import export
    from teinet.recognition import Recognizer

    errors = Console(stderr=True, highlight=False)
    with errors.status("reading the weights") as status:  # silent where there is no terminal
        recognizer = Recognizer.load(args.weights, device="cpu")
        done = export(
            recognizer,
            path,
            format=args.format,
            precision=precision,
            data=data,
            runtime=args.runtime,
            progress=status.update,
        )
    if args.json:
        print(json.dumps(done.to_dict(), indent=2))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    files = {"openvino": " and its .bin", "web": "/, a page"}.get(chosen.name, "")
    console.print(printable(f"wrote {path}{files}: {done.megabytes:.1f} MB, {precision}, in {done.seconds:.0f} s"))
    console.print(printable(f"compared with PyTorch on {done.clips}"), style="dim")
    console.print(f"  same pixels:  {done.parity}", style="dim")
    if done.bf16 is not None:
        console.print(f"  in bf16:      {done.bf16}", style="dim")
    if done.resized is not None:
        console.print(f"  whole frames, resized by the file:  {done.resized}", style="dim")
    if chosen.name == "web":
        console.print(printable(f"try it: python -m http.server --directory {path} 8000, then http://localhost:8000"))
    else:
        takes = "watch" if done.kind == "step" else "predict"
        console.print(printable(f"use it: teinet {takes} {path} VIDEO"))
    return 0
