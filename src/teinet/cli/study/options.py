"""The options that the actions of `teinet study` share: where data, runs and results lie."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from teinet.errors import ConfigError

if TYPE_CHECKING:
    from teinet.study.runner import Where


def add_where(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("--data-root", default=".", help="the folder that the study's data lie in (default: here)")
    parser.add_argument("--work", default="runs/study", help="the folder of runs (default: runs/study)")
    add_results(parser)
    parser.add_argument("--backbone-weights", default=None, metavar="FILE", help="local 2-D weights to start from")
    parser.add_argument("--threads", type=int, default=None, help="of each cell, on a CPU; with --jobs, 1 is best")
    parser.add_argument("--workers", type=int, default=None, help="decoding processes of each cell; 0: its own")


def add_results(parser: argparse.ArgumentParser) -> None:
    """Declare where results lie."""
    parser.add_argument("--results", default="results", help="the folder of results (default: results)")


def where(args: argparse.Namespace) -> Where:
    """What they say.

    Raises:
        ConfigError: a number out of range.
    """
    from teinet.study.runner import Where

    for name, low in (("threads", 1), ("workers", 0)):
        value = getattr(args, name)
        if value is not None and value < low:
            raise ConfigError(f"--{name} is {value}; it must be at least {low}")
    names = ("data_root", "work", "results", "backbone_weights", "threads", "workers")
    return Where(**{name: getattr(args, name) for name in names})
