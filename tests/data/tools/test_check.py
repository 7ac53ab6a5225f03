"""Every file of a list is decoded once, and what is wrong with it is what training would stumble over."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from teinet.data.lists.rows import Row
from teinet.data.tools.checking import COLUMNS, Checked, Finding, check, examine_file
from teinet.data.video.reader import VideoReader
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.utils import worker_pool as pool


def say(call) -> object:
    """What a call returns, or the reason for which it cannot."""
    try:
        return call()
    except VideoError as error:
        return error.reason


def test_a_scan_finds_what_reading_all_frames_finds(videos, tmp_path):
    files = [p for name, p in videos.items() if p.suffix != ".png"]
    whole = videos["b_frames.mp4"].read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 4 : len(whole) // 2] = bytes(len(whole) // 2 - len(whole) // 4)
    for name, content in (
        ("empty.mp4", b""),
        ("text.mp4", b"hello\n" * 100),
        ("cut.mp4", videos["faststart.mp4"].read_bytes()[:30000]),
        ("damaged.mp4", bytes(damaged)),
    ):
        (tmp_path / name).write_bytes(content)
        files.append(tmp_path / name)
    for path in [*files, tmp_path / "nowhere.mp4", tmp_path]:
        reader = VideoReader(path)
        found, truth = say(reader.verify), say(lambda path=path: VideoReader(path).sample(range))
        if isinstance(truth, str):
            assert found == truth, path
        else:
            assert (len(reader), *reader.size[::-1]) == truth.images.shape[:3], path


@pytest.mark.parametrize(("target", "why"), [("1.jpg", "Too many levels"), ("2.jpg", "no such file")])
def test_a_link_among_images_that_leads_nowhere_is_said_in_words(target, why, tmp_path):
    (tmp_path / "1.jpg").symlink_to(target)
    found = examine_file([Row(str(tmp_path))], lambda: None)
    assert found.status == "broken" and why in found.reason and "Error" not in found.reason


@pytest.fixture
def listed(clips, tmp_path) -> tuple[list[Row], Path]:
    """Rows of all kinds; their files lie in a folder of the test's own."""
    folder = tmp_path / "videos"
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        shutil.copy(clips / "resting" / f"{number}.mp4", folder / f"{number}.mp4")
        Image.new("RGB", (20, 10)).save(folder / "images" / f"img_{number}.jpg")
    (folder / "images" / "cover.jpg").touch()
    (folder / "bad.mp4").write_bytes(b"no video")
    names = ("0.mp4", "1.mp4", "bad.mp4", "gone.mp4", "images", "images/img_%d.jpg")
    rows = [Row(str(folder / name), "x", file="list.csv", line=line) for line, name in enumerate(names, 2)]
    spans = [(0.0, 0.3), (0.5, 0.6), (0.7, 0.8)]  # six frames at ten a second
    rows += [Row(str(folder / "2.mp4"), "x", "", *span, file="list.csv", line=8 + i) for i, span in enumerate(spans)]
    return rows, tmp_path / "check.csv"


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {os.path.basename(row["path"]): row for row in csv.DictReader(file)}


def test_what_is_written_down(listed, ffmpeg):
    rows, output = listed
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in output.parent.rglob("*") if p.is_file()}
    report = check(rows, output, workers=0)
    assert report.counts() == {"ok": 4, "broken": 2, "missing": 1, "stuck": 0} and report.clips == 9
    found = table(output)
    assert [row["path"] for row in found.values()] == list(dict.fromkeys(row.path for row in rows))
    frames = ffmpeg("-i", rows[0].path, "-f", "framecrc", "-").decode().strip().splitlines()
    assert found["0.mp4"] | {"frames": "6", "width": "48", "height": "36", "codec": "h264"} == found["0.mp4"]
    assert int(found["0.mp4"]["frames"]) == sum(not line.startswith("#") for line in frames)
    assert float(found["0.mp4"]["seconds"]) == pytest.approx(0.6)
    assert found["images"]["frames"] == found["img_%d.jpg"]["frames"] == "3" and not found["images"]["seconds"]
    assert (found["images"]["order"], found["images"]["others"]) == ("number", "1 other file: cover.jpg")
    assert (found["img_%d.jpg"]["order"], found["img_%d.jpg"]["others"]) == ("pattern img_%d.jpg", "")
    assert report.orders() == {"number": 1, "pattern img_%d.jpg": 1}
    assert found["bad.mp4"]["status"] == "broken" and "text" in found["bad.mp4"]["reason"]
    assert found["gone.mp4"]["status"] == "missing" and found["gone.mp4"]["line"] == "5"
    wrong = found["2.mp4"]  # the first clip in it holds frames, the second one too, the third lies behind the end
    assert (wrong["status"], wrong["line"]) == ("broken", "10") and "no frames between 0.7 s" in wrong["reason"]
    assert all((p.read_bytes(), p.stat().st_mtime_ns) == content for p, content in before.items())


def checked(rows: Sequence[Row], output: Path, **options: bool) -> tuple[Checked, list[str]]:
    """A check in this process, and the names of the files that it examined."""
    seen: list[str] = []

    def examine(clips: Sequence[Row], beat: pool.Beat) -> Finding:
        seen.append(os.path.basename(clips[0].path))
        return examine_file(clips, beat)

    return check(rows, output, workers=0, examine=examine, **options), seen


def test_an_interrupted_check_goes_on(listed):
    rows, output = listed
    _, first = checked(rows, output)
    assert sorted(first) == ["0.mp4", "1.mp4", "2.mp4", "bad.mp4", "images", "img_%d.jpg"]
    done, journal = output.read_text(), output.with_name("check.csv.journal")
    output.unlink()  # it is written at the end
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 8  # the first says whose it is, the second what is missing
    journal.write_text("".join(lines[:4]) + lines[4][:20])  # a kill in the middle of a line
    report, more = checked(rows, output)
    assert set(first) - set(more) == {"0.mp4", "1.mp4"} and report.resumed == 2
    assert output.read_text() == done


def test_what_has_changed_is_read_again(listed):
    rows, output = listed
    check(rows, output, workers=0)
    assert checked(rows, output)[1] == ["2.mp4"]  # its spans are wrong, which the list may have fixed
    os.utime(rows[0].path, ns=(1, 1))
    Image.new("RGB", (40, 10)).save(Path(rows[4].path) / "img_1.jpg")
    shutil.copy(rows[0].path, rows[2].path)
    rows = [row for row in rows if row.line != 10]
    report, seen = checked(rows, output)
    assert sorted(seen) == ["0.mp4", "2.mp4", "bad.mp4", "images", "img_%d.jpg"]
    assert [f.path for f in report.bad] == [rows[3].path]
    rows = [row._replace(end=0.4) if row.line == 8 else row for row in rows]
    assert checked(rows, output)[1] == ["2.mp4"]
    assert len(checked(rows, output, overwrite=True)[1]) == 6


def test_files_of_others_are_not_written_over(listed):
    rows, output = listed
    output.write_text("path,label\na.mp4,x\n")
    with pytest.raises(ConfigError, match="not written by `teinet data check`"):
        check(rows, output, workers=0)
    assert output.read_text() == "path,label\na.mp4,x\n"
    check(rows[:1], output, workers=0, overwrite=True)
    with pytest.raises(ConfigError, match="holds the check of other files"):
        check(rows[1:2], output, workers=0)
    assert len(table(output)) == 1 and tuple(table(output)["0.mp4"]) == COLUMNS


def hang_at_bad(clips: Sequence[Row], beat: pool.Beat) -> Finding:
    if clips[0].path.endswith("bad.mp4"):
        time.sleep(100)
    return examine_file(clips, beat)


def test_a_file_that_hangs_is_named_and_the_others_are_read(listed):
    rows, output = listed
    report = check(rows, output, workers=2, timeout=2, examine=hang_at_bad)
    assert report.counts() == {"ok": 4, "broken": 1, "missing": 1, "stuck": 1}
    assert table(output)["bad.mp4"]["status"] == "stuck" and "2 s" in table(output)["bad.mp4"]["reason"]
    assert checked(rows, output)[1] == ["bad.mp4", "2.mp4"]  # it may have been the disk's fault


def test_file_names_that_are_no_text(listed, clips):
    output = listed[1]
    odd = os.fsdecode(os.fsencode(output.parent) + b"/caf\xe9.mp4")
    shutil.copy(clips / "resting" / "0.mp4", odd)
    report, seen = checked([Row(odd)], output)
    assert report.counts()["ok"] == len(seen) == 1 and checked([Row(odd)], output)[1] == []


def test_a_signal_stops_after_the_file_and_the_same_call_goes_on(listed):
    rows, output = listed

    def signalled(clips: Sequence[Row], beat: pool.Beat) -> Finding:
        os.kill(os.getpid(), signal.SIGTERM)
        return examine_file(clips, beat)

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match=f"stopped after 2 of 7 files \\({output}\\); run the same command"):
        check(rows, output, workers=0, examine=signalled)  # one of the two is the one that is missing
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert check(rows, output, workers=0).resumed == 1


def test_a_link_to_nothing_is_no_fault_unless_it_is_an_image(tmp_path):
    for number in range(2):
        (tmp_path / "clip").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "clip" / f"{number}.png")
    (tmp_path / "clip" / "thumbnail").symlink_to(tmp_path / "gone")
    rows = [Row(str(tmp_path / "clip"), "x")]
    assert check(rows, tmp_path / "a.csv", workers=0).counts()["ok"] == 1
    (tmp_path / "clip" / "2.png").symlink_to(tmp_path / "gone")
    (found,) = check(rows, tmp_path / "b.csv", workers=0).bad
    assert found.reason == "its image 2.png is missing: no such file, or a link to none"
