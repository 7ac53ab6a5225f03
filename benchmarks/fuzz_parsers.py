"""Feeds our own parsers with bytes that reach new branches: python -m benchmarks.fuzz_parsers lists [--seconds 600]

The parsers are those of containers (whether a file ends too early, and why it cannot be opened), lists of clips,
recipes, the header of weights, pickles of weights and Caffe's weights. Each may raise TeinetError alone, within 20
seconds and 4 GB. Needs atheris, which is not among the dependencies: pip install atheris. Inputs that fail are written
to --folder, and those that reached something new, from which the next run continues.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SUFFIXES = (".csv", ".txt", ".json", ".jsonl")


def _container(path: Path, data: bytes) -> None:
    from teinet.data.video import container

    path.write_bytes(data)
    container.ends_too_early(path)
    container._why_not_opened(str(path), ValueError())


def _lists(path: Path, data: bytes) -> None:
    from teinet.data.lists.formats import read_listing

    file = path.with_suffix(SUFFIXES[data[0] % len(SUFFIXES)] if data else ".csv")
    file.write_bytes(data[1:])
    try:
        read_listing(file)
    finally:
        file.unlink()


def _recipe(path: Path, data: bytes) -> None:
    from teinet.training.recipe import Recipe

    path.with_suffix(".yaml").write_bytes(data)
    Recipe.load(path.with_suffix(".yaml")).check()


def _header(path: Path, data: bytes) -> None:
    from teinet.models.header import read_header

    path.write_bytes(data)
    read_header(path)


def _pickle(path: Path, data: bytes) -> None:
    from teinet.models.weights import read_checkpoint

    path.write_bytes(data)
    read_checkpoint(path)


def _caffe(path: Path, data: bytes) -> None:
    _pickle(path.with_suffix(".caffemodel"), data)


PARSERS: dict[str, Callable[[Path, bytes], None]] = {
    "container": _container, "lists": _lists, "recipe": _recipe, "header": _header, "pickle": _pickle,
    "caffe": _caffe,
}  # fmt: skip


def parse(name: str, path: Path, data: bytes) -> None:
    """Let a parser read bytes from a file at `path`; raise what it must not raise."""
    from teinet.errors import TeinetError

    with suppress(TeinetError):
        PARSERS[name](path, data)


def seeds(name: str, folder: Path) -> list[bytes]:
    """Return inputs to start from; what they are made from is written to a folder."""
    import torch

    from benchmarks.damaged_inputs import save_videos
    from teinet import Recognizer, create_model
    from tests import miniatures

    if name == "container":
        return [path.read_bytes()[:4000] for path in save_videos(folder / "videos")]
    if name == "lists":
        roots = [make(folder / kind) for kind, make in miniatures.ALL.items()]
        files = [path for root in roots for path in (root if root.is_dir() else root.parent).rglob("*")]
        return [bytes([SUFFIXES.index(f.suffix)]) + f.read_bytes() for f in files if f.suffix in SUFFIXES]
    if name == "recipe":
        return [path.read_bytes() for path in (Path(__file__).parents[1] / "recipes").glob("*.yaml")]
    if name == "header":
        model = create_model("tsn_test_resnet", num_classes=2, num_frames=2)
        model.state_dict = lambda: {"weight": torch.zeros(2)}  # a header that fits a small file
        Recognizer(model, ["a", "b"]).save(folder / "net.safetensors")
        return [(folder / "net.safetensors").read_bytes()]
    if name == "caffe":
        blob = b"\x3a\x03\x0a\x01\x02" + b"\x2a\x08" + bytes(8)  # its shape, 2, and two numbers
        layer = b"\x0a\x02fc" + b"\x12\x0bConvolution" + b"\x3a" + bytes([len(blob)]) + blob
        return [b"\xa2\x06" + bytes([len(layer)]) + layer]
    found = []
    for new in (True, False):
        buffer = io.BytesIO()
        content = {"epoch": 3, "state_dict": {"weight": torch.zeros(2)}, "args": argparse.Namespace(lr=0.1)}
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        found.append(buffer.getvalue())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parser", choices=PARSERS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--folder", type=Path, default=Path("fuzz-findings"))
    args = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["teinet", "yaml", "json", "csv", "pickle"]):
        import benchmarks.damaged_inputs  # noqa: F401
    folder = args.folder / args.parser
    corpus = folder / "corpus"
    if not corpus.exists():
        corpus.mkdir(parents=True)
        for number, data in enumerate(seeds(args.parser, folder)):
            (corpus / str(number)).write_bytes(data)
    limits = [f"-max_total_time={args.seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=20000"]
    words = [sys.argv[0], str(corpus), *limits, f"-artifact_prefix={folder}/"]
    atheris.Setup(words, lambda data: parse(args.parser, folder / "input", data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
