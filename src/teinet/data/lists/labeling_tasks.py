"""Lists as tasks of labeling tools, so that people correct what a recognizer found: Label Studio's JSON, CVAT's XML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from teinet.data.lists.rows import Row
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import ConfigError
from teinet.utils.files import write_text

_MODEL = "teinet"


def write_label_studio(rows: Sequence[Row], output: Path) -> int:
    """Write tasks with predictions, to be imported into a project with TimelineLabels and Choices; return their number.

    Segments become timeline labels, whole videos choices. Videos go by their names, as local files or uploads do; a
    column `score` becomes the prediction's.

    Raises:
        VideoError: the video of a segment cannot be read, whose frames would be counted.
        OSError: the file cannot be written.
    """
    tasks = []
    for path, own in _by_video(rows).items():
        found = []
        for number, row in enumerate(own):
            if row.label is None:
                continue
            common = {"id": f"r{number}", "to_name": "video"}
            if row.start is None and row.end is None:
                value = {"choices": list(row.labels)}
                found.append({**common, "from_name": "choice", "type": "choices", "value": value})
                continue
            first, last = _frames(path, row)
            ranges = [{"start": first + 1, "end": last + 1}]  # from 1, both inside
            value = {"ranges": ranges, "timelinelabels": list(row.labels)}
            found.append({**common, "from_name": "events", "type": "timelinelabels", "value": value})
        scores = [float(row.columns["score"]) for row in own if row.columns.get("score")]
        prediction = {"model_version": _MODEL, "result": found} | ({"score": float(np.mean(scores))} if scores else {})
        tasks.append({"data": {"video": Path(path).name}, "predictions": [prediction] if found else []})
    write_text(output, json.dumps(tasks, indent=1, ensure_ascii=False) + "\n")
    return len(tasks)


def write_cvat(rows: Sequence[Row], folder: Path) -> int:
    """Write an XML file of CVAT for video 1.1 for each video into a folder, which is created; return their number.

    Each segment is a track that covers the frame, to be imported as the annotations of that video's task.

    Raises:
        ConfigError: two videos of one name.
        VideoError: a video cannot be read.
        OSError: a file cannot be written.
    """
    videos = _by_video(rows)
    names = [Path(path).stem for path in videos]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{folder}: several videos are called {twice[0]}; convert a list of one folder of videos")
    folder.mkdir(parents=True, exist_ok=True)
    for path, own in videos.items():
        write_text(folder / f"{Path(path).stem}.xml", _cvat(path, own))
    return len(videos)


def _cvat(path: str, rows: Sequence[Row]) -> str:
    reader = VideoReader(file_of_list(path))
    width, height = reader.size
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    meta = ElementTree.SubElement(root, "meta")
    task = ElementTree.SubElement(meta, "task")
    for name, text in (("name", Path(path).stem), ("size", len(reader)), ("mode", "interpolation"), ("start_frame", 0)):
        ElementTree.SubElement(task, name).text = str(text)
    labels = ElementTree.SubElement(task, "labels")
    for label in sorted({label for row in rows for label in row.labels}):
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = label
    ElementTree.SubElement(meta, "source").text = Path(path).name
    for number, (row, label) in enumerate((each, label) for each in rows for label in each.labels):
        first, last = _frames(path, row)
        told = {"id": str(number), "label": label, "source": "auto"}
        track = ElementTree.SubElement(root, "track", told)
        box = {"xtl": "0", "ytl": "0", "xbr": str(width), "ybr": str(height), "occluded": "0", "z_order": "0"}
        for frame, outside in dict(
            [(first, 0), (last, 0), *([(last + 1, 1)] if last + 1 < len(reader) else [])]
        ).items():
            shape = {"frame": str(frame), "keyframe": "1", "outside": str(outside), **box}
            ElementTree.SubElement(track, "box", shape)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _by_video(rows: Sequence[Row]) -> dict[str, list[Row]]:
    videos: dict[str, list[Row]] = {}
    for row in rows:
        videos.setdefault(row.path, []).append(row)
    return videos


def _frames(path: str, row: Row) -> tuple[int, int]:
    """Return the first and the last frame, counted from 0, that are shown in a row's time."""
    shown = VideoReader(file_of_list(path)).frames_shown(row.start, row.end)
    return int(shown[0]), int(shown[-1])
