"""`teinet study cell`: one network on one fold with one seed."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from teinet.cli.study.options import add_where, where


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("study", help="the study's YAML file")
    parser.add_argument("cell", help="NETWORK/FOLD/SEED, as `teinet study run STUDY --list` names them")
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    """Train, test, write the result.

    Raises:
        TeinetError: see `run_cell`.
    """
    from rich.console import Console

    from teinet.study.cell import run_cell
    from teinet.study.plan import Study

    study = Study.load(args.study)
    path = run_cell(study, study.cell(args.cell), **asdict(where(args)), console=Console())
    print(path)
    return 0
