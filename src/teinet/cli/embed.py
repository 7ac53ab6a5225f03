"""`teinet embed`: the features of videos, for search, clustering and other tools."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teinet.cli import options
from teinet.cli.parser import ADVANCED, option, positional
from teinet.data.lists.data_config import MAX_DAMAGED, MAX_DAMAGED_HELP, check_max_damaged
from teinet.data.views import Views
from teinet.utils.files import replacing
from teinet.utils.machine import check_device
from teinet.utils.text import count, printable

if TYPE_CHECKING:
    import numpy as np

_FORMS = {".npz": "npz", ".parquet": "parquet"}


@dataclass(kw_only=True)
class EmbedOptions(options.WeightsArgument):
    """Write the features of videos, one vector each: what the network's head takes.

    teinet embed fights folder/ --output features.npz
    teinet embed probe.safetensors '*.mp4' --output features.parquet
    """

    videos: list[str] = positional("files, folders and all in them, patterns like 'more/*.webm'", metavar="VIDEO")
    output: str = option("a .npz or .parquet file", default="features.npz", metavar="FILE")
    overwrite: bool = option(options.OVERWRITE, default=False)
    views: str = option("clips x crops to look at: 1x1 is quick, 10x3 thorough", default="1x1")
    max_damaged: float = option(MAX_DAMAGED_HELP, default=MAX_DAMAGED, group=ADVANCED)
    device: str = option(options.DEVICE, default="auto", group="device")
    workers: int | None = option("threads that decode (default: one per core, at most 4)", group="device")


def run(args: EmbedOptions) -> int:
    """Write the vectors of all readable videos; return 1 when some could not be read, 130 when interrupted."""
    form = options.output_form(args, _FORMS)
    options.check_range(args, workers=1)
    options.check_weights(args.weights)
    check_max_damaged(args.max_damaged, "--max-damaged")
    Views.parse(args.views)
    check_device(args.device)
    if form == "parquet":
        import pyarrow  # noqa: F401  # before the work, if it is missing
    import numpy as np
    from rich.console import Console

    from teinet.data.find_videos import find_videos
    from teinet.errors import TeinetError
    from teinet.recognition import Recognizer
    from teinet.utils.progress import file_progress

    problems: list[str] = []
    videos = find_videos(args.videos, problems)
    options.check_output(args.output, [*videos, args.weights], overwrite=args.overwrite)
    recognizer = Recognizer.load(args.weights, device=args.device)
    for problem in problems:
        print(printable(problem), file=sys.stderr)
    paths: list[str] = []
    found: list[np.ndarray] = []
    vectors = recognizer.embed_many(videos, views=args.views, max_damaged=args.max_damaged, workers=args.workers)
    stopped = False
    with file_progress(Console(stderr=True), "embedding", len(videos)) as advance:
        try:
            for path, vector in vectors:
                if isinstance(vector, TeinetError):
                    print(printable(vector), file=sys.stderr)
                else:
                    paths.append(path)
                    found.append(vector)
                advance("")
        except KeyboardInterrupt:
            stopped = True
    features = np.stack(found) if found else np.empty((0, 0), np.float32)
    _write(args.output, form, paths, features)
    done = f"wrote {args.output} ({count(len(paths), 'video')}, {features.shape[1]} numbers each)"
    print(printable(f"stopped; {done}" if stopped else done), file=sys.stderr)
    return 130 if stopped else int(len(paths) < len(videos) or bool(problems))


def _write(output: str, form: str, paths: list[str], features: np.ndarray) -> None:
    """Write paths (N) and features (N, D) float32 to a file, which gets its name when it is complete."""
    with replacing(os.path.realpath(output)) as part:
        if form == "npz":
            import numpy as np

            with part.open("wb") as file:
                np.savez(file, paths=np.array(paths, dtype=str), features=features)
            return
        import pyarrow
        import pyarrow.parquet

        rows = pyarrow.FixedSizeListArray.from_arrays(features.ravel(), max(1, features.shape[1]))
        pyarrow.parquet.write_table(
            pyarrow.table({"path": [printable(path) for path in paths], "features": rows}), str(part)
        )
