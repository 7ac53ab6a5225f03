"""The options that say what a list of clips is, the same for every command that takes one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teinet.data.lists.splits import DataConfig

_FIELDS = ("format", "root", "val_path", "test_path", "labels", "division", "picture_names")


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """Declare them; they are fields of the recipe's `data` section."""
    parser.add_argument("--format", default="auto", help="which kind of list it is (default: found out)")
    parser.add_argument("--root", default=None, help="folder that the list's paths start from")
    parser.add_argument("--val-path", default=None, help="a list of validation clips, where it is a file of its own")
    parser.add_argument("--test-path", default=None, help="a list of test clips, likewise")
    parser.add_argument("--labels", default=None, help="file of class names in the order of their numbers")
    parser.add_argument("--division", type=int, default=1, help="official division, UCF101 and HMDB51: 1 to 3")
    parser.add_argument("--picture-names", default=None, help="of clips that are folders, such as img_{:05d}.jpg")


def data_config(args: argparse.Namespace, path: str) -> DataConfig:
    """What the options say of the list `path`."""
    from teinet.data.lists.splits import DataConfig

    return DataConfig(path=path, **{name: getattr(args, name) for name in _FIELDS})
