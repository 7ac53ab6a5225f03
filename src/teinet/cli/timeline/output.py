"""The file of `--output`: it grows beside its name, in the folder of what is kept, and takes the name when complete."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from teinet.cli.places import check_file
from teinet.errors import ConfigError, Interrupted
from teinet.utils.files import replacing


class Output:
    """Where the answers go.

    Args:
        path: a file; None for standard output. What is no regular file, such as /dev/stdout, is written to directly.

    Raises:
        ConfigError: it cannot be written.

    Attributes:
        growing: the file that holds the answers until all are there; None where they are written directly.
        written: set it when there is an answer; else an earlier file of that name stays as it is.
    """

    def __init__(self, path: str | None):
        self._path = Path(path) if path else None
        folder = partial_folder(path)
        self.growing = None if folder is None else folder / self._path.name
        self.written = False
        if self._path is None:
            return
        check_file(self._path)
        if folder is not None and not os.access(self._path.parent, os.W_OK):
            raise ConfigError(f"{path}: cannot be written (its folder may not be written)")

    @contextmanager
    def opened(self) -> Iterator[IO[str]]:
        """The file to write to; at the end of the block it takes its name, unless something stopped it.

        Raises:
            OSError: it cannot be written.
        """
        if self._path is None:
            yield sys.stdout
            return
        growing, mode, earlier = self._path, "a", None  # what is special may be a file that something stands in
        if self.growing is not None:
            growing, mode = self.growing, "w"
            growing.parent.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):
                earlier = growing.read_bytes()
        with open(growing, mode, encoding="utf-8", errors="surrogateescape", newline="") as file:
            try:
                yield file
            except Interrupted:
                raise
            except BaseException:
                if earlier is None or self.written:
                    self._forget()
                else:  # the answers of an interrupted command, which this one was refused to go on with
                    file.close()
                    growing.write_bytes(earlier)
                raise
        if self.growing is None:
            return
        if self.written:
            with replacing(os.path.realpath(self._path)) as part:
                shutil.copyfile(growing, part)
        self._forget()

    def _forget(self) -> None:
        if self.growing is not None:
            self.growing.unlink(missing_ok=True)
            with suppress(OSError):  # it holds what goes on there
                self.growing.parent.rmdir()


def partial_folder(output: str | None) -> Path | None:
    """The folder beside an output for what is found so far; None where there is no place for one."""
    path = Path(output or "")
    if output and path.name in ("", ".."):
        path = Path(os.path.abspath(output))
    special = path.is_relative_to("/dev") or (path.exists() and not (path.is_file() or path.is_dir()))
    if not output or not path.name or special:
        return None
    return path.with_name(f"{path.name}.partial")
