"""Miniature copies of the data sets in their makers' true layout, with their true quirks; clips drawn by motion_pairs.

Each function fills a folder and returns it. Class names are real ones of the data set.
"""

from __future__ import annotations

import csv
import json
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from PIL import Image

from teinet.data.motion_pairs import MotionPairs, draw_clip

# Real names; two that are each other's mirror image, one that holds a quirk of its data set.
SOMETHING_V1 = (
    "Pushing something from left to right",
    "Pushing something from right to left",
    "Poking a hole into something soft",
)
SOMETHING_V2 = (
    "Pulling [something] from left to right",
    "Pulling [something] from right to left",
    "Putting [something similar to other things that are already on the table]",
)
KINETICS = ("air drumming", "passing American football (not in game)", "tango dancing")
UCF = ("ApplyEyeMakeup", "HandstandPushups", "YoYo")
HMDB = ("brush_hair", "sword_exercise", "wave")
JESTER = ("Swiping Left", "Swiping Right", "No gesture")


@lru_cache
def frames(kind: int, length: int = 10) -> np.ndarray:
    """Frames (T, 32, 32, 3) uint8 of one of motion_pairs' motions; another one for each `kind`."""
    settings = MotionPairs(size=32, frames=length | 1, segments=1)  # an odd number of frames
    return draw_clip(kind % 12, settings, np.random.default_rng(kind))[:length]


def write(path: Path, kind: int, length: int = 10, rate: int = 10) -> Path:
    """A clip: a file in the codec that its suffix is known for, or without a suffix a folder of JPEG images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.suffix:
        images(path, kind, length)
        return path
    codec = {".webm": "libvpx", ".avi": "mpeg4", ".mp4": "libx264", ".ts": "libx264"}[path.suffix]
    return encode(path, frames(kind, length), codec, rate=rate)


def encode(path, images, codec="libx264", options=None, *, rate=10, pixels="yuv420p", first=0, container=None) -> Path:
    """Images (H, W, 3) as a file of any codec, in the container of its suffix; `first` is the first timestamp."""
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.thread_count = 1
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = first + number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def decoded(path: Path, pixels: str = "rgb24") -> np.ndarray:
    """All frames of a file, (T, H, W, 3) uint8 (or as `pixels` are stored), as FFmpeg's own converter gives them."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format=pixels) for frame in file.decode(video=0)])


def images(folder: Path, kind: int, length: int = 10, name: str = "{:05d}.jpg") -> None:
    """A folder of JPEG images, numbered from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(frames(kind, length), 1):
        Image.fromarray(image).save(folder / name.format(number), quality=90)


def flow(folder: Path, right: int, down: int = 0, length: int = 9) -> Path:
    """A square that moves by whole pixels a frame, 48 x 36, and its optical flow next to it, one field fewer.

    A level of the flow is a quarter of a pixel, and 128 none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(length):
        top, left = 14 + down * (t - 4), 20 + right * (t - 4)
        square = slice(top, top + 8), slice(left, left + 8)
        image = np.full((36, 48, 3), 40, np.uint8)
        image[square] = 230
        Image.fromarray(image).save(folder / f"img_{t + 1:05d}.jpg")
        for axis, moved in (("x", right), ("y", down)) if t + 1 < length else ():
            field = np.full((36, 48), 128, np.uint8)
            field[square] += np.uint8(4 * moved % 256)
            Image.fromarray(field).save(folder / f"flow_{axis}_{t + 1:05d}.jpg", quality=95)
    return folder


def something_v1(
    root: Path, names=SOMETHING_V1, prefix="something-something-v1", frames_in="20bn-something-something-v1"
) -> Path:
    """JPEG folders, `id;name` lists, a test list of ids alone; one clip of the training list is not there."""
    lists = {"train": [], "validation": [], "test": []}
    number = 1
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        for kind, name in enumerate(names):
            for _ in range(count):
                if not (split == "train" and number == 2):  # this row points nowhere
                    images(root / frames_in / str(number), kind, length=(5, 8, 12)[number % 3])
                lists[split].append(f"{number};{name}" if split != "test" else f"{number}")
                number += 1
    for split, lines in lists.items():
        (root / f"{prefix}-{split}.csv").write_text("\n".join(lines) + "\n")
    (root / f"{prefix}-labels.csv").write_text("\n".join(reversed(names)) + "\n")
    return root


def jester(root: Path) -> Path:
    """Like Something-Something V1, under its own names."""
    return something_v1(root, JESTER, "jester-v1", "20bn-jester-v1")


def something_v2(root: Path) -> Path:
    """webm files, JSON lists with templates and placeholders, ids and indices as strings."""
    number = 100
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        entries = []
        for kind, template in enumerate(SOMETHING_V2):
            for _ in range(count):
                write(root / "20bn-something-something-v2" / f"{number}.webm", kind, length=(8, 12)[number % 2])
                entry = {"id": str(number)}
                if split != "test":
                    thing = 'a "blue" cup, left'  # what stood for [something]; quotes and commas do occur
                    label = template.replace("[something]", thing).lower()
                    entry |= {"label": label, "template": template, "placeholders": [thing]}
                entries.append(entry)
                number += 1
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{split}.json").write_text(json.dumps(entries, indent=1))
    order = [name.replace("[", "").replace("]", "") for name in (SOMETHING_V2[2], SOMETHING_V2[0], SOMETHING_V2[1])]
    (root / "labels" / "labels.json").write_text(json.dumps({name: str(i) for i, name in enumerate(order)}))
    return root


def kinetics(root: Path, *, whole: bool = False) -> Path:
    """csv lists; files as two downloaders name them, in class folders with spaces or underscores; some not to be had.

    With `whole`, files are called by their id alone and hold more than the clip.
    """
    root.mkdir(parents=True, exist_ok=True)
    number = 0
    for split, count in (("train", 4), ("val", 2)):
        with (root / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["label", "youtube_id", "time_start", "time_end", "split", "is_cc"])
            for kind, label in enumerate(KINETICS):
                for _ in range(count):
                    clip = f"-{number:03d}_Ab{'cdefgh'[number % 6]}"  # ids may begin with a dash
                    start = 1 if whole else 10 + number
                    rows.writerow([label, clip, start, start + (1 if whole else 10), split, 0])
                    folder = root / split / (label.replace(" ", "_") if number % 2 else label)
                    name = clip if whole else f"{clip}_{start:06d}_{start + 10:06d}"
                    if number % 5 != 3:  # taken off the web
                        write(folder / f"{name}.mp4", kind, length=40 if whole else 10)
                    number += 1
    return root


def ucf101(root: Path) -> Path:
    """avi files in class folders, three splits, classInd from 1; HandStandPushups is spelled in two ways, as it is."""
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{i} {name}\r\n" for i, name in enumerate(UCF, 1)))
    for split in (1, 2, 3):
        train, test = [], []
        for index, name in enumerate(UCF, 1):
            for group in range(1, 7):
                file = f"{name}/v_{name.replace('stand', 'Stand')}_g{group:02d}_c01.avi"
                if split == 1:
                    write(root / "UCF-101" / file, index)
                if group % 3 == split % 3:
                    test.append(file)
                else:
                    train.append(f"{file} {index}")
        (lists / f"trainlist0{split}.txt").write_text("\r\n".join(train) + "\r\n")
        (lists / f"testlist0{split}.txt").write_text("\r\n".join(test) + "\r\n")
    return root


def hmdb51(root: Path) -> Path:
    """avi files in class folders with names of all kinds, a list for each class and split; 0 is not used."""
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for kind, name in enumerate(HMDB):
        files = [f"(Movie)_s_#{i}!_it's;[x]_{name}_f_cm_np1_le_med_{i}.avi" for i in range(6)]
        for file in files:
            write(root / "hmdb51_org" / name / file, kind)
        for split in (1, 2, 3):
            use = [(1, 1, 1, 2, 2, 0)[(i + split) % 6] for i in range(6)]
            text = "".join(f"{file} {u} \n" for file, u in zip(files, use))
            (lists / f"{name}_test_split{split}.txt").write_text(text)
    return root


def tsn(root: Path) -> Path:
    """Frame folders (one name holds spaces) with optical flow next to the images, `folder frames label` lists."""
    for split, count in (("train", 3), ("val", 2)):
        lines = []
        for label in range(3):
            for i in range(count):
                folder = f"{split}/class {label}/clip {i}"
                images(root / folder, label, name="img_{:05d}.jpg")
                images(root / folder, label + 3, name="flow_x_{:05d}.jpg")
                lines.append(f"{folder} 10 {label}")
        (root / f"{split}_videofolder.txt").write_text("\n".join(lines) + "\n")
    (root / "category.txt").write_text("clap\nnod\nwave\n")
    return root


def mmaction(root: Path) -> Path:
    """`file label` lists; names with spaces; class names in a label map."""
    for split, count in (("train", 3), ("val", 2)):
        lines = [f"videos {split}/{label} {i}.mp4 {label}" for label in range(3) for i in range(count)]
        for line in lines:
            path, _, label = line.rpartition(" ")
            write(root / path, int(label))
        (root / f"tiny_{split}_list_videos.txt").write_text("\n".join(lines) + "\n")
    (root / "label_map.txt").write_text("clap\nnod\nwave\n")
    return root


def slowfast(root: Path, separator: str = " ") -> Path:
    """`path label` csv without a first line, absolute paths, no class names."""
    for split, count in (("train", 3), ("val", 2), ("test", 2)):
        lines = []
        for label in range(3):
            for i in range(count):
                path = write(root / "videos" / f"{split}_{label}_{i}.mp4", label)
                lines.append(f"{path}{separator}{label}")
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return root


def folders(root: Path) -> Path:
    """A folder per class inside train/ and val/; a class name with a quote and a space."""
    for split, count in (("train", 3), ("val", 2)):
        for kind, name in enumerate(("it's left", "it's right", "rest")):
            for i in range(count):
                write(root / split / name / f"{i}.mp4", kind)
    return root


def json_lines(root: Path) -> Path:
    """Named columns as JSON Lines; returns the list itself."""
    lines = []
    for split, count in (("train", 3), ("validation", 2)):
        for kind, name in enumerate(("wave", "clap, loud", 'say "hi"')):
            for i in range(count):
                path = write(root / "clips" / f"{split}{kind}{i}.mp4", kind)
                lines.append({"path": str(path.relative_to(root)), "label": name, "split": split, "camera": i})
    (root / "clips.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return root / "clips.jsonl"


# Segments in longer videos: two a file, 40 frames at 10 a second; the third file has one.
SEGMENTS = (("one", "wave", 0.5, 1.5), ("one", "clap", 2.0, 3.0), ("two", "clap", 0.0, 1.0), ("two", "nod", 1.0, 4.0))


def _recordings(root: Path, suffix: str = ".mp4") -> Path:
    for kind, name in enumerate(("one", "two")):
        write(root / "videos" / f"{name}{suffix}", kind, length=40)
    return root


def label_studio(root: Path) -> Path:
    """A task for each upload, whose name got a prefix; spans by frame numbers from 1, both ends inside."""
    tasks: dict = {}
    for name, label, start, end in SEGMENTS:
        address = f"/data/upload/3/0a1b2c3d-{name}.mp4"
        task = tasks.setdefault(
            name, {"id": len(tasks) + 7, "data": {"video": address}, "annotations": [{"result": []}]}
        )
        value = {"ranges": [{"start": round(10 * start) + 1, "end": round(10 * end)}], "timelinelabels": [label]}
        task["annotations"][0]["result"].append({"type": "timelinelabels", "value": value, "to_name": "video"})
    _recordings(root)
    (root / "project-1.json").write_text(json.dumps(list(tasks.values())))
    return root


def cvat(root: Path) -> Path:
    """An XML file for each task; a track is a box in each of its frames, outside in the one after the last."""
    _recordings(root)
    for name in ("one", "two"):
        tracks = ""
        for number, (file, label, start, end) in enumerate(SEGMENTS):
            if file != name:
                continue
            shapes = [(round(10 * start), 0), (round(10 * end) - 1, 0)] + [(round(10 * end), 1)] * (end < 4)
            boxes = "".join(f'<box frame="{f}" outside="{o}" xtl="0" ytl="0" xbr="9" ybr="9"/>' for f, o in shapes)
            tracks += f'<track id="{number}" label="{label}" source="manual">{boxes}</track>'
        meta = f"<meta><task><name>{name}</name><start_frame>0</start_frame></task><source>{name}.mp4</source></meta>"
        text = (
            f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{tracks}</annotations>'
        )
        (root / f"{name}.xml").write_text(text)
    return root


def via(root: Path) -> Path:
    """VIA 3's csv: comments first, JSON in quoted fields."""
    _recordings(root)
    with (root / "via.csv").open("w", newline="") as file:
        file.write("# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n")
        file.write("# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n")
        for number, (name, label, start, end) in enumerate(SEGMENTS):
            values = (
                f"1_{number}",
                json.dumps([f"{name}.mp4"]),
                0,
                json.dumps([start, end]),
                "[]",
                json.dumps({"1": label}),
            )
            csv.writer(file, quoting=csv.QUOTE_NONNUMERIC).writerow(values)
    return root


def elan(root: Path) -> Path:
    """A document for each video, in milliseconds by time slots; the sound has a descriptor too."""
    _recordings(root)
    for name in ("one", "two"):
        slots = values = media = ""
        for number, (file, label, start, end) in enumerate(SEGMENTS):
            if file != name:
                continue
            for i, time in enumerate((start, end)):
                slots += f'<TIME_SLOT TIME_SLOT_ID="ts{2 * number + i}" TIME_VALUE="{round(1000 * time)}"/>'
            refs = f'TIME_SLOT_REF1="ts{2 * number}" TIME_SLOT_REF2="ts{2 * number + 1}"'
            value = f"<ANNOTATION_VALUE>{label}</ANNOTATION_VALUE>"
            values += f"<ANNOTATION><ALIGNABLE_ANNOTATION {refs}>{value}</ALIGNABLE_ANNOTATION></ANNOTATION>"
        for kind in ("wav", "mp4"):
            address = f'MEDIA_URL="file:///C:/videos/{name}.{kind}" RELATIVE_MEDIA_URL="./{name}.{kind}"'
            media += f'<MEDIA_DESCRIPTOR {address} MIME_TYPE="x/{kind}"/>'
        (root / f"{name}.eaf").write_text(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT FORMAT="3.0"><HEADER>{media}</HEADER>'
            f'<TIME_ORDER>{slots}</TIME_ORDER><TIER TIER_ID="gesture">{values}</TIER></ANNOTATION_DOCUMENT>'
        )
    return root


def activitynet(root: Path) -> Path:
    """One database; files are named v_ID."""
    database: dict = {}
    for name, label, start, end in SEGMENTS:
        video = database.setdefault(name, {"subset": "training", "duration": 4.0, "url": "", "annotations": []})
        video["annotations"].append({"segment": [start, end], "label": label})
    for kind, name in enumerate(database):
        write(root / "videos" / f"v_{name}.mp4", kind, length=40)
    (root / "activity_net.v1-3.min.json").write_text(json.dumps({"database": database, "version": "VERSION 1.3"}))
    return root


def ava(root: Path) -> Path:
    """A row for each person and action in each second, without a first line; names are in a file of their own."""
    names = sorted({label for _, label, _, _ in SEGMENTS})
    lines = []
    for name, label, start, end in SEGMENTS:
        for second in range(round(start + 0.5), max(round(start + 0.5) + 1, round(end))):
            for person in (0, 1):
                lines.append(
                    f"{name},{second:04d},0.1,0.2,0.5,{0.6 + person / 10:.1f},{names.index(label) + 1},{person}"
                )
    _recordings(root)
    (root / "ava_train_v2.2.csv").write_text("\n".join(lines) + "\n")
    entries = [f'label {{\n  name: "{label}"\n  label_id: {i}\n}}\n' for i, label in enumerate(names, 1)]
    (root / "ava_action_list_v2.2.pbtxt").write_text("".join(entries))
    return root


def charades(root: Path) -> Path:
    """A row a video with all its actions by number; some have no length."""
    _recordings(root)
    names = sorted({label for _, label, _, _ in SEGMENTS})
    (root / "Charades_v1_classes.txt").write_text("".join(f"c{i:03d} {name}\n" for i, name in enumerate(names)))
    with (root / "Charades_v1_train.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "subject", "scene", "descriptions", "actions", "length"])
        for name in ("one", "two"):
            own = [
                f"c{names.index(label):03d} {start:.2f} {end:.2f}"
                for file, label, start, end in SEGMENTS
                if file == name
            ]
            rows.writerow(
                [name, "HR43", "Kitchen", "A person waves, claps.", ";".join([*own, "c000 1.00 1.00"]), "4.00"]
            )
    return root


def epic_kitchens(root: Path) -> Path:
    """A row a segment, times as clocks, verb and noun."""
    for kind, name in enumerate(("one", "two")):
        write(root / "P01" / "videos" / f"{name}.mp4", kind, length=40)
    with (root / "EPIC_100_train.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            "narration_id participant_id video_id narration_timestamp start_timestamp stop_timestamp verb noun".split()
        )
        for number, (name, label, start, end) in enumerate(SEGMENTS):
            clocks = [f"00:00:{t:05.2f}" for t in (start, start, end)]
            rows.writerow([f"{name}_{number}", "P01", name, *clocks, label, "hand"])
    return root


def shards(root: Path) -> Path:
    """Shards that `teinet data shard` wrote of a folder per class, in the container of WebDataset."""
    from teinet.data.lists.formats import read_listing
    from teinet.data.tools.sharding import shard

    shard(read_listing(folders(root / "videos")), root / "shards", workers=0)
    return root / "shards"


ALL = {
    "something_v1": something_v1,
    "something_v2": something_v2,
    "jester": jester,
    "kinetics": kinetics,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "tsn": tsn,
    "mmaction": mmaction,
    "slowfast": slowfast,
    "folders": folders,
    "table": json_lines,
    "shards": shards,
    "label_studio": label_studio,
    "cvat": cvat,
    "via": via,
    "elan": elan,
    "activitynet": activitynet,
    "ava": ava,
    "charades": charades,
    "epic_kitchens": epic_kitchens,
}
