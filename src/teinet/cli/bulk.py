"""`--ray` of `teinet predict` and `teinet timeline`: the same work on large collections, by `teinet.scale`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teinet.cli import options
from teinet.cli.parser import option
from teinet.errors import ConfigError
from teinet.utils.text import count, printable

if TYPE_CHECKING:
    from teinet.scale import Summary
    from teinet.scale.ray_job import Advance
    from teinet.utils.progress import ProgressTask


@dataclass(kw_only=True)
class RayOption:
    """Where work in bulk runs."""

    ray: str | None = option(
        "for large collections: work on Ray, on this machine (local) or a cluster; --output FOLDER takes rows in "
        "Parquet, and the same command continues; a .csv or .parquet with a column `path` is a list of videos",
        metavar="local|ADDRESS",
        group="device",
    )


def run_bulk(args: Any, unused: Iterable[str], job: Callable[[Advance], Summary]) -> int:
    """Run a job with a progress bar and print its summary; return 1 if some file could not be read.

    Args:
        args: what was typed.
        unused: names of options that a job does not have.
        job: calls `teinet.scale`.

    Raises:
        ConfigError: one of these options was typed, or --output names no folder.
    """
    from rich.console import Console

    from teinet.utils.progress import ProgressBars

    defaults = {f.name: f.default for f in fields(args)}
    for name in unused:
        if getattr(args, name) != defaults[name]:
            raise ConfigError(f"--{name.replace('_', '-')} does not work with --ray, which writes Parquet files")
    folder = args.output
    if (
        not folder
        or options.is_special(folder)
        or Path(folder).is_file()
        or (Path(folder).suffix and folder[-1] != "/")
    ):
        raise ConfigError("--ray writes Parquet files into a folder; name one: --output FOLDER/")
    bar: ProgressTask | None = None

    def advance(done: int, before: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            if before:
                print(
                    f"finished before: {before} of {count(total, 'file')}; continues with the others", file=sys.stderr
                )
            bar = bars.task("files", total, done=before)
        bar.update(done, total=total)

    with ProgressBars(Console(stderr=True)) as bars:
        found = job(advance)
    done = found.files - found.before
    rate = done / found.seconds if done else 0.0
    if args.json:
        print(json.dumps(asdict(found) | {"rate": round(rate, 3), "output": os.fspath(folder)}))
    if found.failed:
        print(f"unreadable: {found.failed} of {count(done, 'file')}; the column error says why", file=sys.stderr)
    print(printable(f"wrote {folder} ({count(found.files, 'file')}; {rate:.3g} files/s)"), file=sys.stderr)
    return int(found.failed > 0)
