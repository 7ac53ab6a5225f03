"""`teinet study table`: what the finished cells of studies say."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teinet.cli.study.options import add_results
from teinet.errors import ConfigError

if TYPE_CHECKING:
    from teinet.study.results import Done


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="YAML files")
    add_results(parser)
    parser.add_argument(
        "--picture", default=None, metavar="FOLDER", help="draw NAME.png, NAME-curves.png, NAME-calibration.png there"
    )
    parser.add_argument("--folds", action="store_true", help="also each fold, and the lead's interval over folds")
    parser.add_argument("--pairs", action="store_true", help="also each pair of classes that are each other backwards")
    parser.add_argument("--errors", type=int, default=0, metavar="N", help="also the N clusters with the most errors")
    parser.add_argument("--fill", default=None, metavar="PAGE", help="write the tables into a page, between its marks")
    parser.add_argument("--markdown", action="store_true", help="print the tables as a page wants them")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Print, draw, fill; returns 0.

    Raises:
        TeinetError: a study, result or page that cannot be used.
    """
    from rich.console import Console

    from teinet.study.plan import Study
    from teinet.study.results import Done
    from teinet.study.tables import extras, fill, markdown, marked, provenance, rich_extra, rich_table, rows
    from teinet.utils.files import replacing

    if args.errors < 0:
        raise ConfigError(f"--errors must be at least 0, got {args.errors}")
    studies = [Done.load(Study.load(path), args.results) for path in args.studies]
    if args.fill:
        page = Path(args.fill)
        text = page.read_text(encoding="utf-8")
        if absent := [d.study.name for d in studies if f"<!-- study {d.study.name} -->" not in text]:
            raise ConfigError(
                f"{page} has no place for {absent[0]}: put <!-- study {absent[0]} --> and "
                f"<!-- end of {absent[0]} --> where its table shall stand"
            )
        with replacing(page) as part:
            part.write_text(fill(text, studies), encoding="utf-8")
    if args.picture:
        from teinet.study.picture import save_pictures

        for done in studies:
            save_pictures(done, args.picture)
    more = {d.study.name: extras(d, errors=args.errors, folds=args.folds, pairs=args.pairs) for d in studies}
    if args.json:
        said = {d.study.name: [row.to_dict() for row in rows(d)] for d in studies}
        if args.errors or args.folds or args.pairs:  # beside the networks
            said = {d.study.name: {"networks": said[d.study.name], **_numbers(d, args)} for d in studies}
        print(json.dumps(said, indent=2))
        return 0
    console = Console(highlight=False)
    for done in studies:
        if args.markdown:
            print(markdown(done))
            for _, heads, lines in more[done.study.name].values():
                print(f"\n{marked(heads, lines)}")
            continue
        console.print(rich_table(done))
        console.print(provenance(done), style="dim", soft_wrap=True)
        for extra in more[done.study.name].values():
            console.print(rich_extra(*extra))
    return 0


def _numbers(done: Done, args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for beside the networks, as JSON values."""
    study, found = done.study, {}
    if args.folds:
        found["folds"] = {
            network: {"top1": done.folds(network), "difference": _lead(done, network)} for network in study.networks
        }
    if args.pairs:
        found["pairs"] = [
            {"pair": list(pair), "networks": {n: done.reversals(n, pair) for n in study.networks}}
            for pair in study.reversals
        ]
    if args.errors:
        found["errors"] = [c.to_dict() for c in done.clusters()[: args.errors]]
    return found


def _lead(done: Done, network: str) -> list[float | None] | None:
    lead = done.over_folds(network, done.study.reference) if done.study.reference else None
    return None if lead is None else [None if math.isnan(value) else value for value in lead]
