"""Any list of clips as the library's own csv, with the class names in their order beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from teinet.data.lists.formats import Listing
from teinet.data.lists.presence import absent
from teinet.data.lists.write_list import refuse_unwritable, write_labels, write_rows
from teinet.errors import ConfigError


@dataclass(frozen=True)
class Converted:
    """What was written: the csv, the file of class names (None: no clip has a label), clips that are not there."""

    list: Path
    labels: Path | None
    classes: int
    missing: int


def convert(listing: Listing, output: Path, *, absolute: bool = False, force: bool = False) -> Converted:
    """Write `listing` to the csv `output`, and its class names to the same name with `.labels.txt`.

    A csv says which classes there are and not in which order, so a network's numbers would change without the names.

    Args:
        listing: the clips.
        output: a file whose name ends in .csv; its folder exists.
        absolute: write whole paths, and not those from the csv's folder on.
        force: write over files that are there.

    Raises:
        ConfigError: `output` is there already, is what was read, or cannot hold these clips; nothing is written.
        OSError: a file cannot be written.
    """
    if output.suffix.lower() != ".csv":
        raise ConfigError(f"{output}: must end in .csv, by which training knows the list")
    labels = output.with_name(f"{output.stem}.labels.txt")
    read = {Path(row.file).resolve() for row in listing.rows if row.file} | {listing.source.resolve()}
    for path in (output, labels):
        if path.resolve() in read:
            raise ConfigError(f"{path}: is the list that is read; name another file")
        if path.is_dir() or (path.exists() and not force):
            raise ConfigError(f"{path}: is there already; --force writes over it, another OUT.csv leaves it")
    names = listing.class_names or sorted({row.label for row in listing.rows if row.label is not None})
    refuse_unwritable(listing.rows, output.parent)
    if names:
        write_labels(labels, names)
    elif force:
        labels.unlink(missing_ok=True)  # of another list
    write_rows(output, listing.rows, absolute=absolute)
    return Converted(output, labels if names else None, len(names), len(absent(listing.rows)))
