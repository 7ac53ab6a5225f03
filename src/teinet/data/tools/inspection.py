"""Inspection of a list of clips: how it is read, possible problems, and statistics of a sample of clips."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from teinet.data.lists.formats import FORMATS, Listing
from teinet.data.lists.labels import flipped_labels, labels_alike, several_labels
from teinet.data.lists.rows import SPLITS, Row, conflicts, no_labels, overlaps, spelling_hint, unknown_label
from teinet.data.video.image_folder import image_order
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import ConfigError, VideoError
from teinet.utils.progress import file_progress
from teinet.utils.tables import plain_table
from teinet.utils.text import natural, number, printable

_FEW = 20
_SHORT = (8, 16)  # usual numbers of frames of a network
_CLASSES_SHOWN, _ENDS_SHOWN, _NAMES_SHOWN = 40, 10, 8
_NO_SPLIT = "without split"

Facts = dict[str, Any]


def facts(listing: Listing, missing: Sequence[int], *, found_out: bool) -> Facts:
    """Return facts about all rows of a list, without opening videos.

    Args:
        missing: positions of rows without a file.
        found_out: true if the format was detected, not given.

    Returns:
        JSON values. `spans`: clips that are parts of files; `unknown`: clips with a label that is not a class;
        `repeated`: duplicate clips within a split; `splits`: clips by split ("" for none), also by class in `counts`
        and `classes`; `ordered`: true if `class_names` have an order of their own, else alphabetical; `columns`: the
        values of each other column (few in order, many by frequency); `hflip`: pairs of classes that a horizontal flip
        exchanges, or the reason why clips cannot be flipped; `alike`: classes that differ by their spelling only;
        `conflicts`: clips with two labels (`same`), and parts of files that overlap and have two; `rows`: some
        examples. Other names explain themselves.
    """
    rows = listing.rows
    names = listing.class_names or sorted({label for row in rows for label in row.labels})
    known = set(names)
    counted = Counter(row.split for row in rows)
    splits = {split: counted[split] for split in (*SPLITS, "") if counted[split]}
    by_class = Counter((row.split, label) for row in rows for label in row.labels)
    classes = {name: {split: by_class[split, name] for split in splits} for name in names}
    trained = "train" if "train" in splits else None
    unlabeled, last = [row for row in rows if row.label is None], len(rows) - 1
    unknown = [row for row in rows if not known.issuperset(row.labels)]
    label = next((label for row in unknown for label in row.labels if label not in known), "")
    try:
        image = flipped_labels(names)
        hflip: list[tuple[str, str]] | str = [(names[i], names[j]) for i, j in enumerate(image) if i < j]
    except ConfigError as error:
        hflip = str(error)

    def first(some: Sequence[Row]) -> Facts | None:
        return {"path": some[0].path, "file": some[0].file, "line": some[0].line} if some else None

    return {
        "source": str(listing.source),
        "format": listing.format,
        "title": FORMATS[listing.format].title,
        "found_out": found_out,
        "notes": list(listing.notes),
        "clips": len(rows),
        "files": len({row.path for row in rows}),
        "spans": sum(row.start is not None or row.end is not None for row in rows),
        "missing": len(missing),
        "first_missing": first([rows[i] for i in missing[:1]]),
        "missing_hint": spelling_hint(rows, missing),
        "splits": splits,
        "class_names": list(names),
        "ordered": listing.class_names is not None,
        "classes": classes,
        "counts": {split: [classes[name][split] for name in names] for split in splits},
        "empty_classes": [name for name, counts in classes.items() if not any(counts.values())],
        "untrained_classes": [n for n, c in classes.items() if trained and any(c.values()) and not c[trained]],
        "unlabeled": len(unlabeled),
        "first_unlabeled": first(unlabeled),
        "only_test_unlabeled": all(row.split == "test" for row in unlabeled),
        "unknown": len(unknown),
        "first_unknown": unknown and {**(first(unknown) or {}), "reason": unknown_label(label, names)},
        "alike": labels_alike(names),
        "no_labels": "" if names else no_labels(rows),
        "conflicts": [{"same": c.same, "text": str(c)} for c in conflicts(rows)],
        "repeated": len(rows) - len({(row.split, row.path, row.start, row.end) for row in rows}),
        "overlaps": [vars(o) for o in overlaps({s: [row for row in rows if row.split == s] for s in splits if s})],
        "columns": _columns(rows),
        "hflip": hflip,
        "rows": [_example(rows[i]) for i in sorted({0, last // 2, last})],
    }


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    values: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.columns.items():
            values.setdefault(name, Counter())[value] += 1
    return {
        name: sorted(counter, key=natural) if len(counter) <= _FEW else [value for value, _ in counter.most_common()]
        for name, counter in values.items()
    }


def draw_sample(
    rows: Sequence[Row], missing: Sequence[int], count: int, *, seed: int = 0, console: Console | None = None
) -> Facts:
    """Draw `count` rows with files, reproducibly, and measure their clips.

    Returns:
        JSON values: numbers of clips `asked` and `measured`; `ranges` (minimum, median, maximum) of each quantity, of
        clips, not of their files; clips by `sizes` and `codecs`, by frequency, and folders of images by what orders
        them, `image_orders`; the names in these folders that are `not_taken`; numbers of clips `shorter` than usual
        numbers of frames; `unreadable` clips with reasons.
    """
    gone = set(missing)
    there = [i for i in range(len(rows)) if i not in gone]
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(there, min(count, len(there)), replace=False).tolist()) if there else []
    names = ("frames", "seconds", "frames per second", "short side", "long side")
    quantities: dict[str, list[float]] = {name: [] for name in names}
    sizes, codecs, orders, not_taken, unreadable = Counter[str](), Counter[str](), Counter[str](), [], []
    with file_progress(console or Console(quiet=True), "measuring", len(chosen)) as advance:
        for i in chosen:
            try:
                video = VideoReader(file_of_list(rows[i].path))
                shown, size = video.frames_shown(rows[i].start, rows[i].end), video.size
                seconds, rate, frames = (
                    video.seconds_shown(rows[i].start, rows[i].end),
                    video.rate_of(shown),
                    len(shown),
                )
                for values, value in zip(quantities.values(), (frames, seconds, rate, min(size), max(size))):
                    values += [] if value is None else [value]  # a folder of images has no seconds and no rate
                sizes[f"{size[0]}x{size[1]}"] += 1
                codecs[video.codec] += 1
                if video.is_image_folder:
                    order = image_order(rows[i].path)
                    orders[order.rule] += 1
                    not_taken += [os.path.join(rows[i].path, name) for name in order.others]
            except VideoError as error:
                unreadable.append({"path": rows[i].path, "reason": error.reason})
            advance("")
    return {
        "asked": len(chosen),
        "measured": sizes.total(),
        "ranges": {
            name: {"min": float(min(values)), "median": float(np.median(values)), "max": float(max(values))}
            for name, values in quantities.items()
            if values
        },
        "sizes": dict(sizes.most_common()),
        "codecs": dict(codecs.most_common()),
        "image_orders": dict(orders.most_common()),
        "not_taken": not_taken,
        "shorter": {limit: sum(frames < limit for frames in quantities["frames"]) for limit in _SHORT},
        "unreadable": unreadable,
    }


def _example(row: Row) -> Facts:
    return {**row._asdict(), "columns": dict(row.columns), "label": "|".join(row.labels) or None}


def tables(facts: Facts, sample: Facts) -> Iterator[tuple[str, Table]]:
    """Yield the tables of an inspection with their titles."""
    yield "list of clips", _two_columns(_summary(facts))
    if found := problems(facts, sample):
        yield "possible problems", _two_columns(found, style="yellow")
    if facts["class_names"]:
        chosen, which = chosen_classes(facts)
        yield f"classes{which}", _class_table(facts, chosen, _ENDS_SHOWN if which else None)
    yield "example rows", _two_columns([(str(i), _describe(row)) for i, row in enumerate(facts["rows"], 1)])
    if sample["measured"]:
        ranges = plain_table("", "smallest", "median", "largest", text=[""], show_edge=False)
        for name, values in sample["ranges"].items():
            ranges.add_row(name, *map(number, values.values()))
        yield f"a sample of {sample['measured']} clips", ranges
        kinds = {"sizes": "sizes", "codecs": "codecs", "image_orders": "images ordered by"}
        counted = [(name, [f"{n} ({count})" for n, count in sample[kind].items()]) for kind, name in kinds.items()]
        yield "", _two_columns([(name, listed(values)) for name, values in counted if values])


def _summary(facts: Facts) -> list[tuple[str, str]]:
    """Return facts in words with short names."""
    how = "detected" if facts["found_out"] else "as given"
    parts = f", {facts['spans']:,} of them parts of files" if facts["spans"] else ""
    order = "in the list's own order" if facts["ordered"] else "in alphabetical order"
    if list(facts["splits"]) == [""]:
        splits = "none: training holds out a fifth of each class; data.folds, train, val and test set other splits"
    else:
        splits = ", ".join(f"{count} {split or _NO_SPLIT}" for split, count in facts["splits"].items())
    if isinstance(facts["hflip"], str):
        hflip = f"refused: {facts['hflip']}"
    elif facts["hflip"]:
        hflip = f"possible; exchanges {listed([f'{a} - {b}' for a, b in facts['hflip']])}"
    else:
        hflip = "possible; no class name has a direction, so flipped clips keep their class"
    names = facts["class_names"]
    return [
        ("list", facts["source"]),
        ("format", f"{facts['format']}: {facts['title']} ({how})"),
        ("clips", f"{facts['clips']:,} in {facts['files']:,} file{'s' if facts['files'] != 1 else ''}{parts}"),
        ("splits", splits),
        ("classes", f"{len(names)}, {order}" if names else f"none: {facts['no_labels']}"),
        *(("note", note) for note in facts["notes"]),
        *((f"column {name}", f"{len(values)} values: {listed(values)}") for name, values in facts["columns"].items()),
        ("hflip", hflip),
    ]


def problems(facts: Facts, sample: Facts) -> list[tuple[str, str]]:
    """Return possible problems with short names."""
    found = []
    names, unreadable = facts["class_names"], sample["unreadable"]
    if facts["missing"]:
        where = _where(facts["first_missing"])
        hint = f": {facts['missing_hint']}" if facts["missing_hint"] else ""
        found.append(("missing", f"{facts['missing']} of {facts['clips']} clips; the first: {where}{hint}"))
    if unreadable:
        count, first = f"{len(unreadable)} of {sample['asked']} clips in the sample", unreadable[0]
        found.append(("unreadable", f"{count}; the first: {first['path']}: {first['reason']}"))
    if not_taken := sample["not_taken"]:
        found.append(("not taken", f"{len(not_taken)} names in folders of images, for example {not_taken[0]}"))
    if facts["unlabeled"] and names:
        which = " (all in test)" if facts["only_test_unlabeled"] else ""
        where = _where(facts["first_unlabeled"])
        found.append(("unlabeled", f"{facts['unlabeled']} clips{which}; the first: {where}"))
    if first := facts["first_unknown"]:
        place = f"{first['file']}, line {first['line']}" if first["line"] else first["path"]
        found.append(("unknown label", f"{facts['unknown']} clips; the first: {place}: {first['reason']}"))
    if empty := facts["empty_classes"]:
        found.append(("empty classes", f"{len(empty)} of {len(names)} classes: {listed(empty)}"))
    if untrained := facts["untrained_classes"]:
        found.append(("untrained", f"{len(untrained)} classes have clips, but none for training: {listed(untrained)}"))
    if several := several_labels(names):
        found.append(("several labels", several))
    if facts["alike"]:
        found.append(("alike", facts["alike"]))
    if len(names) == 1:
        found.append(("one class", f"{names[0]} alone gives a network nothing to tell apart; add a second class"))
    same = [conflict["text"] for conflict in facts["conflicts"] if conflict["same"]]
    overlapping = [conflict["text"] for conflict in facts["conflicts"] if not conflict["same"]]
    if same:
        found.append(("two labels", f"{len(same)} clips; the first: {same[0]}"))
    if overlapping:
        found.append(("two labels", f"in overlapping parts of {len(overlapping)} files; the first: {overlapping[0]}"))
    if "" in facts["splits"] and len(facts["splits"]) > 1:
        count = facts["splits"][""]
        found.append(("no split", f"{count} clips have no split, but others do; training needs one for all or none"))
    for overlap in facts["overlaps"]:
        both = f"in both {overlap['one']} and {overlap['other']}"
        clips = overlap["clips"]
        what = f"{clips} clips are {both}" if clips else f"{overlap['files']} files have clips {both}"
        what = f"{overlap['files']} files have copies {both}" if overlap["copies"] else what
        found.append(("overlap", f"{what}, for example {overlap['example']}: accuracies on them are too high"))
    if facts["repeated"]:
        found.append(("duplicates", f"{facts['repeated']} rows repeat a clip"))
    for limit, count in sample["shorter"].items():
        if count:
            found.append((f"under {limit} frames", f"{count} of the {sample['measured']} clips in the sample"))
    return found


def listed(values: Sequence[str], most: int = _NAMES_SHOWN) -> str:
    """Return the first few of several names as one string."""
    return ", ".join(values[:most]) + (f", ... {len(values) - most} more" if len(values) > most else "")


def chosen_classes(facts: Facts) -> tuple[list[int], str]:
    """Return the classes to show, from most to fewest clips, and a note on those that are left out."""
    totals = [sum(counts.values()) for counts in facts["classes"].values()]
    order = sorted(range(len(totals)), key=lambda i: (-totals[i], i))
    if len(order) <= _CLASSES_SHOWN:
        return order, ""
    chosen = order[:_ENDS_SHOWN] + order[-_ENDS_SHOWN:]
    return chosen, f", the {_ENDS_SHOWN} with most and fewest clips of {len(order)} (all: --json)"


def _describe(row: Facts) -> str:
    start, end = ("" if second is None else number(second) for second in (row["start"], row["end"]))
    span = f"  {start} to {end} s" if start or end else ""
    fields = {**{key: row[key] for key in ("label", "split", "name")}, **row["columns"]}
    return f"{row['path']}{span}  " + "  ".join(f"{key}={value}" for key, value in fields.items() if value)


def _where(row: Facts) -> str:
    return f"{row['path']} ({row['file']}, line {row['line']})" if row["line"] else row["path"]


def _class_table(facts: Facts, chosen: Sequence[int], parted_after: int | None) -> Table:
    several = list(facts["splits"]) if len(facts["splits"]) > 1 else []
    heads = ("number", "class", *(split or _NO_SPLIT for split in several), "clips")
    table = plain_table(*heads, text=["class"], show_edge=False)
    for place, i in enumerate(chosen, 1):
        name = facts["class_names"][i]
        counts: Mapping[str, int] = facts["classes"][name]
        numbers = [counts[split] for split in several] + [sum(counts.values())]
        # Text: names such as "Pushing [something]" would be read as markup
        table.add_row(str(i), Text(name), *map(str, numbers), end_section=place == parted_after)
    return table


def _two_columns(rows: Sequence[tuple[str, str]], style: str = "dim") -> Table:
    table = Table(show_header=False, pad_edge=False, box=None)
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(printable(text)))
    return table
