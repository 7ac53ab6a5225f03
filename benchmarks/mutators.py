"""Damaged inputs for `benchmarks.campaign`: mutations of bytes, packets, images, lists, weights and recipes.

All draw from the `random.Random` that they are given, so that a number makes the same input again.
"""

from __future__ import annotations

import io
import json
import os
import pickletools
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import yaml
from PIL import Image

_SAME = {"fflags": "+bitexact"}  # of containers, which hold random numbers otherwise
Bytes = Callable[[random.Random, bytearray], bytes]
_NUMBERS = (0, 1, -1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 2**40, 2**63 - 1)
# Names of boxes (MP4), chunks (AVI) and elements (Matroska), the start of a PES packet (MPEG), GIF's blocks.
_MARKS = re.compile(
    rb"ftyp|moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|stbl|stsd|avc1|avcC|stts|ctts|stss|stsc|stsz|stco|moof|mfhd|tfhd"
    rb"|tfdt|t(?:run)|mdat|RIFF|LIST|avih|strh|strf|idx1|movi|00dc|FLV|\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x15\x49\xa9\x66"
    rb"|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\x1c\x53\xbb\x6b|\x2a\xd7\xb1|\x44\x89|\x23\xe3\x83|\xe7[\x81-\x84]|\xa3[\x40-\xff]"
    rb"|\x00\x00\x01[\xb3\xb8\xe0]|\x00\x00\x01[\x65\x67\x68]|GIF8|\x21\xf9|IHDR|acTL|fcTL|IDAT|\xff[\xc0\xc4\xda\xdb]"
)


def _place(rng: random.Random, data: bytes) -> int:
    """Return a position: anywhere, near the beginning or the end, or behind a name of the format."""
    marks = [found.end() for found in _MARKS.finditer(data)] if rng.random() < 0.5 else []
    if marks:
        return min(len(data) - 1, max(0, rng.choice(marks) + rng.randrange(-8, 40)))
    near = min(len(data), rng.choice((64, 1000, len(data))))
    return rng.randrange(near) if rng.random() < 0.7 else len(data) - 1 - rng.randrange(near)


def _block(rng: random.Random, data: bytes) -> slice:
    start = _place(rng, data)
    return slice(start, start + 1 + int(len(data) ** rng.random()))


def _flipped(rng: random.Random, data: bytearray) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        data[_place(rng, data)] ^= 1 << rng.randrange(8)
    return data


def _overwritten(rng: random.Random, data: bytearray) -> bytes:
    block = _block(rng, data)
    size = len(data[block])
    data[block] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return data


def _numbered(rng: random.Random, data: bytearray) -> bytes:
    start, size = _place(rng, data), rng.choice((1, 2, 4, 8))
    number = (rng.choice(_NUMBERS) % (1 << 8 * size)).to_bytes(size, rng.choice(("big", "little")))
    data[start : start + size] = number
    return data


def _cut(rng: random.Random, data: bytearray) -> bytes:
    return data[: rng.randrange(len(data))] if rng.random() < 0.9 else data[rng.randrange(len(data)) :]


def _holed(rng: random.Random, data: bytearray) -> bytes:
    del data[_block(rng, data)]
    return data


def _doubled(rng: random.Random, data: bytearray) -> bytes:
    block, start = data[_block(rng, data)], _place(rng, data)
    data[start:start] = block * rng.choice((1, 1, 3))
    return data


def _swapped(rng: random.Random, data: bytearray) -> bytes:
    one, other = sorted((_place(rng, data), _place(rng, data)))
    size = rng.randrange(1, max(2, other - one))
    data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]
    return data


BYTES: dict[str, Bytes] = {
    "bits": _flipped, "run": _overwritten, "number": _numbered, "cut": _cut, "hole": _holed, "block twice": _doubled,
    "blocks swapped": _swapped,
}  # fmt: skip


def mutated_bytes(rng: random.Random, data: bytes, others: list[bytes] | None = None) -> tuple[bytes, str]:
    """Return changed bytes, and how; at times empty, or with one of `others` before or after them."""
    kind = rng.random()
    if kind < 0.01:
        return b"", "empty"
    if kind < 0.05 and others:
        pair = [data, rng.choice(others)]
        rng.shuffle(pair)
        return b"".join(pair), "two files"
    names = [rng.choice((*BYTES, "bits", "run", "number")) for _ in range(rng.choice((1, 1, 2, 3)))]
    for name in names:
        if data:
            data = bytes(BYTES[name](rng, bytearray(data)))
    return data, ", ".join(names)


def mutated_packets(rng: random.Random, source: Path, target: Path) -> str:
    """Write the packets of a video to another file: lost, exchanged, damaged or at other times; return how."""
    kinds = ("lost", "first lost", "exchanged", "twice", "damaged", "cut", "jump", "times", "keys", "same time")
    edits = [rng.choice(kinds) for _ in range(rng.choice((1, 1, 2)))]
    with av.open(str(source)) as src, av.open(str(target), "w", options=_SAME) as out:
        old = src.streams.video[0]
        new = out.add_stream_from_template(old)
        packets = [packet for packet in src.demux(old) if packet.size]
        for edit in edits:
            i, j = sorted((rng.randrange(len(packets)), rng.randrange(len(packets))))
            if edit == "lost":
                packets = [packet for packet in packets if rng.random() < 0.8] or packets
            elif edit == "first lost":
                del packets[: min(len(packets) - 1, rng.randrange(1, 12))]
            elif edit == "exchanged":
                packets[i], packets[j] = packets[j], packets[i]
            elif edit == "twice":
                packets[i:i] = packets[i : j + 1]
            elif edit in ("damaged", "cut"):
                data = (_cut if edit == "cut" else _flipped)(rng, bytearray(packets[i]))
                packets[i] = _packet(bytes(data) or b"\0", packets[i])
            elif edit == "keys":
                packets[i].is_keyframe = not packets[i].is_keyframe
            else:
                by = rng.choice((-1, 1)) * rng.choice((1, 3, 40, 10**4, 10**6, 2**31, 2**33))
                for packet in packets[i:] if edit == "jump" else packets[i : i + 1]:
                    if packet.pts is not None and edit == "same time":
                        packet.pts = packets[j].pts
                    elif packet.pts is not None:
                        packet.pts += by
                        packet.dts = packet.dts if packet.dts is None or edit == "times" else packet.dts + by
        for packet in packets:
            packet.stream = new
            with suppress(av.error.FFmpegError, ValueError, OverflowError):  # no container takes all of them
                out.mux(packet)
    return ", ".join(edits)


def _packet(data: bytes, like: av.Packet) -> av.Packet:
    packet = av.Packet(data)
    packet.pts, packet.dts, packet.time_base = like.pts, like.dts, like.time_base
    packet.is_keyframe = like.is_keyframe
    return packet


def mutated_images(rng: random.Random, frames: np.ndarray, folder: Path) -> str:
    """Write a folder of numbered images of which one, or a name, is damaged; return how."""
    suffix, mode = rng.choice((("jpg", "RGB"), ("png", "RGB"), ("png", "I;16"), ("png", "P"), ("png", "RGBA"),
                               ("bmp", "RGB"), ("webp", "RGB"), ("jpg", "L")))  # fmt: skip
    folder.mkdir(parents=True)
    paths = [folder / f"img_{number:03d}.{suffix}" for number in range(1, 7)]
    for path, frame in zip(paths, frames):
        image = Image.fromarray(frame)
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257) if mode == "I;16" else image
        (image if mode == "I;16" else image.convert(mode)).save(path)
    victim = rng.choice(paths)
    how = rng.choice(
        ("bytes", "bytes", "bytes", "name", "size", "kind", "folder", "link", "pipe", "number twice", "none")
    )
    if how == "bytes":
        data, how = mutated_bytes(rng, victim.read_bytes())
        victim.write_bytes(data)
    elif how == "name":
        names = ("7" * 400, "٣", "²", "-1", "1e9", "1.5.2", "0x1", " 5", "img_99999999999999999999999", "a\nb3", "é4")
        with suppress(OSError):
            victim.rename(folder / f"{rng.choice(names)}.{suffix}")
    elif how == "size":
        Image.fromarray(frames[0]).resize((rng.choice((1, 3, 900)), rng.choice((1, 5, 700)))).save(victim)
    elif how == "kind":
        Image.fromarray(frames[0]).save(victim, format=rng.choice(("GIF", "TIFF", "PPM", "BMP", "PNG")))
    elif how == "number twice":
        shutil.copy(victim, folder / f"img_{victim.stem[4:].lstrip('0')}.{suffix}")
    elif how != "none":
        victim.unlink()
        {"folder": victim.mkdir, "link": lambda: victim.symlink_to(victim.name), "pipe": lambda: os.mkfifo(victim)}[
            how
        ]()
    return f"{suffix} {mode}, {how}"


_STRANGE = (
    None, True, False, -1, 0, 1, 2, 3, 7, 300, 0.5, -0.0, 1e308, 5e-324, 2**31, 2**63, 2**70, 10**400,
    float("nan"), float("inf"), "", " ", "nan", "inf", "1e999", "-1", "0x10", "1_000", "/", ".", "..", "/dev/null",
    "a" * 5000, "x\0y", "~", "~another/x", "\ufeff", "\ud800", "\u202e", "%d", "{}", "{0}", "{:05d}", "*", "[", "a/b",
    "http://localhost:9/x", [], {},
)  # fmt: skip
_CHARACTERS = "0123456789.-eE+:,;%/\\ {}[]'\"#&*!|>?@~nax\0\n\r\t\u00e9\u0663\u2028\U0001f600"  # codespell:ignore nax


def strange(rng: random.Random, depth: int = 2) -> Any:
    """Return a value of any kind that JSON and YAML have, often one at an edge."""
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(_STRANGE)
    if kind < 0.75:
        return rng.choice((rng.randrange(-9, 400), rng.uniform(-2, 2), rng.gauss(0, 1e6), rng.randrange(2**66)))
    if kind < 0.9 or not depth:
        return "".join(rng.choices(_CHARACTERS, k=rng.randrange(1, 12)))
    inside = [strange(rng, depth - 1) for _ in range(rng.randrange(1, 4))]
    return inside if kind < 0.95 else {f"{number}": value for number, value in enumerate(inside)}


def _slots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container inside a value with each key or position in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _slots(value[key])


def mutated_value(rng: random.Random, value: Any) -> str:
    """Change a tree of dicts and lists in place at one to three points: replaced, removed, added or renamed."""
    names = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        slots = list(_slots(value))
        if not slots:
            break
        owner, key = rng.choice(slots)
        how = rng.choice(("value", "value", "value", "gone", "more", "name"))
        if how == "value":
            owner[key] = strange(rng)
        elif isinstance(owner, list):
            owner[key : key + (how == "gone")] = [] if how == "gone" else [strange(rng)]
        elif how == "more":
            owner[str(strange(rng))[:50]] = strange(rng)
        else:
            taken = owner.pop(key)
            if how == "name":
                owner[f"{key}x"[rng.randrange(2) :]] = taken
        names.append(f"{str(key)[:40]}: {how}")
    return ", ".join(names)


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def mutated_table(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change cells, lines, columns or the encoding of a list."""
    lines = data.decode().splitlines()
    how = rng.choice(
        ("cells", "cells", "cells", "line gone", "line twice", "column", "encoding", "order", "quote", "long")
    )
    i = rng.randrange(len(lines))
    cut = next((mark for mark in (",", ";", " ") if mark in lines[i]), "/")
    if how == "cells":
        for _ in range(rng.choice((1, 1, 4))):
            cells = lines[i].split(cut)
            cells[rng.randrange(len(cells))] = _text_of(strange(rng))
            lines[i] = cut.join(cells)
    elif how == "line gone":
        del lines[i]
    elif how == "line twice":
        lines.insert(i, rng.choice(lines))
    elif how == "column":
        place = rng.randrange(lines[i].count(cut) + 1)
        lines = [cut.join(cell for k, cell in enumerate(line.split(cut)) if k != place) for line in lines]
    elif how == "order":
        rng.shuffle(lines)
    elif how == "quote":
        lines[i] = lines[i].replace(rng.choice((cut, "/", "1")), rng.choice(('"', "'", "\t", "\r", "\0", "\\")), 1)
    elif how == "long":
        lines[i] += rng.choice('a,;/ "') * 200_000
    text = rng.choice(("\n", "\n", "\r\n", "\r")).join(lines) + "\n"
    encoding = rng.choice(("utf-16", "utf-8-sig", "latin-1", "utf-32", "cp037")) if how == "encoding" else "utf-8"
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace"), how


def mutated_list(rng: random.Random, root: Path, folder: Path) -> str:
    """Copy a data set with links to its clips, and change one of its lists; or, without lists, the names of folders."""
    lists: list[Path] = []

    def copy(source: Path, target: Path) -> None:
        if source.is_dir() and any(source.rglob("*.[ctj][sx]*")):
            target.mkdir(parents=True)
            for path in source.iterdir():
                copy(path, target / path.name)
        elif source.suffix in (".csv", ".txt", ".json", ".jsonl"):
            lists.append(target)
            shutil.copy(source, target)
        else:
            target.symlink_to(source)

    copy(root, folder) if any(root.rglob("*.[ctj][sx]*")) else shutil.copytree(root, folder)
    if not lists:
        victim = rng.choice([path for path in sorted(folder.rglob("*")) if not path.is_symlink()])
        with suppress(OSError, ValueError):
            victim.rename(victim.with_name(_text_of(strange(rng))))
        return f"{victim.name} renamed"
    victim = rng.choice(sorted(lists))
    data, kind = victim.read_bytes(), rng.random()
    if kind < 0.25:
        changed, how = mutated_bytes(rng, data)
    elif victim.suffix.startswith(".json") and kind < 0.9:
        parts = data.splitlines() if victim.suffix == ".jsonl" else [data]
        i = rng.randrange(len(parts))
        value = json.loads(parts[i])
        how = mutated_value(rng, value)
        parts[i] = json.dumps(value).encode() if rng.random() < 0.95 else b"[" * 100_000
        changed = b"\n".join(parts)
    else:
        changed, how = mutated_table(rng, data)
    victim.write_bytes(changed)
    return f"{victim.name}: {how}"


def mutated_safetensors(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change the header of a weights file as JSON or as bytes, or the numbers of its tensors."""
    length = int.from_bytes(data[:8], "little")
    header, rest, kind = data[8 : 8 + length], data[8 + length :], rng.random()
    if kind < 0.55:
        table = json.loads(header)
        inner = json.loads(table["__metadata__"]["teinet"])
        how = mutated_value(rng, inner if kind < 0.4 else table)
        if kind < 0.4:
            table["__metadata__"]["teinet"] = json.dumps(inner)
        header = json.dumps(table).encode()
    elif kind < 0.7:
        header, how = mutated_bytes(rng, header)
    elif kind < 0.8:
        numbers = np.frombuffer(rest, np.float32).copy()
        numbers[rng.randrange(len(numbers)) :: rng.choice((1, 7, 10**9))] = rng.choice(
            (np.nan, np.inf, -3e38, 1e-45, 0)
        )
        rest, how = numbers.tobytes(), "numbers"
    elif kind < 0.9:
        return mutated_bytes(rng, data)
    else:
        length = rng.choice((0, 1, length - 1, length + 1, 2**31, 2**63, len(data)))
        return length.to_bytes(8, "little") + data[8:], "length"
    return len(header).to_bytes(8, "little") + header + rest, how


def mutated_pickle(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change a file of torch.save: the bytes of the file, or the pickle inside its zip archive."""
    if not zipfile.is_zipfile(io.BytesIO(data)) or rng.random() < 0.2:
        near = rng.choice((300, 4000, len(data)))  # the pickle comes first
        head, how = mutated_bytes(rng, data[:near])
        return head + data[near:], how
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        victim = next(name for name in names if name.endswith("data.pkl")) if rng.random() < 0.8 else rng.choice(names)
        how = "entry gone" if rng.random() < 0.05 else ""
        for name in names:
            content = old.read(name)
            if name == victim and name.endswith("data.pkl") and rng.random() < 0.5:
                content, how = _other_opcodes(rng, content), "opcodes"
            elif name == victim and content:
                content, how = mutated_bytes(rng, content) if not how else (content, how)
            if not (name == victim and how == "entry gone"):
                form = rng.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))
                new.writestr(zipfile.ZipInfo(name), content, form)  # without the time of day
    return out.getvalue(), f"{victim}: {how}"


def _other_opcodes(rng: random.Random, pickle: bytes) -> bytes:
    """Replace, remove or repeat whole instructions of a pickle."""
    starts = [position for _, _, position in pickletools.genops(pickle) if position is not None]
    parts = [pickle[a:b] for a, b in zip(starts, [*starts[1:], len(pickle)])]
    for _ in range(rng.choice((1, 2, 5))):
        i = rng.randrange(len(parts))
        j = rng.randrange(len(parts))
        parts[i : i + rng.randrange(2)] = [
            rng.choice((parts[j], b"", b"R", b"b", b"o", b"\x81", b"0", b"2", b"Q", b"I9\n", b"N"))
        ]
    return b"".join(parts)


def mutated_recipe(rng: random.Random, recipe: dict[str, Any]) -> tuple[bytes, str]:
    """Change a recipe's values or names, or its text."""
    kind = rng.random()
    if kind < 0.8:
        how = mutated_value(rng, recipe)
    text = yaml.safe_dump(recipe, allow_unicode=rng.random() < 0.5, sort_keys=False)
    if kind < 0.8:
        return text.encode("utf-8", "surrogatepass"), how
    if kind < 0.95:
        return mutated_bytes(rng, text.encode())
    laughs = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    more = (
        "extends: recipe.yaml\n", "extends: [a, b]\n", "extends: /\n", "rows: {a: {}, b: 3}\n", "? [1, 2]\n: 3\n",
        "!!python/object/apply:os.system [ls]\n", "a: &a [*a]\n", laughs, "[" * 3000, "{" * 3000, "2026-01-01: 3\n",
        "- 3\n", "<<: 3\n", "optim: &o {lr: 0.1}\nmodel: *o\n", "\t\n", "%YAML 9.9\n---\n", "--- 3\n--- 4\n",
        "lr: 0x_\n", "epochs: 1:2:3\n",
    )  # fmt: skip
    return rng.choice(("", text)).encode() + rng.choice(more).encode(), "text"
