"""motion_pairs: partners differ in nothing but the order of their frames, and the motions are what their names say."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from teinet.data.motion_pairs import CLASS_NAMES, PAIRS, MotionPairs, draw, draw_clip, stage
from teinet.data.motion_pairs.scenes import coordinates_in, is_symmetric, middles, set_scene
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.video.writer import write_reversed, write_video
from teinet.data.view_loading import load_views
from teinet.errors import ConfigError, VideoError
from teinet.models import create_model
from teinet.models.classifier import as_clips
from tests import miniatures

SMALL = MotionPairs(train=2, val=0, test=1, size=48)


def digests(root: Path) -> dict[str, str]:
    files = (file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "clips.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def staged(forward: str, seeds: int = 12):
    pair = [first for first, _ in PAIRS].index(forward)
    return [stage(pair, MotionPairs(), np.random.default_rng([7, seed])) for seed in range(seeds)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "motion_pairs", SMALL, workers=2)


# The two facts that bound a network blind to order at one half.


def test_partners_decode_to_the_very_same_frames_in_opposite_order(drawn):
    by_source: dict[str, list[dict]] = {}
    for row in rows(drawn):
        by_source.setdefault(row["source"], []).append(row)
    for first, second in by_source.values():
        assert (first["label"], second["label"]) in PAIRS and first["split"] == second["split"]
        for pixel_format in ("yuv420p", "rgb24"):
            one, other = (miniatures.decoded(drawn / row["path"], pixel_format) for row in (first, second))
            assert np.array_equal(one, other[::-1])
        assert not np.array_equal(one, other), "a clip that is its own reverse shows no order at all"


@pytest.mark.parametrize("segments", [8, 16])
def test_the_frames_of_a_test_clip_are_the_same_ones_backwards(segments):
    n = MotionPairs().frames
    chosen = [int((i + 0.5) * n / segments) for i in range(segments)]
    assert chosen == middles(n, segments) and len(set(chosen)) == segments
    assert [n - 1 - i for i in chosen][::-1] == chosen and is_symmetric(n, segments)
    assert not is_symmetric(32, segments)
    with pytest.raises(ConfigError, match="not the same frames"):
        MotionPairs(frames=32)  # an even number of frames a segment


def test_files_are_constant_rate_h264_that_says_its_colors(drawn):
    with av.open(str(next(drawn.glob("test/opening/*.mp4")))) as file:
        stream = file.streams.video[0]
        assert (stream.codec.name, stream.format.name, stream.average_rate) == ("h264", "yuv420p", 12)
        assert (stream.width, stream.height) == (48, 48)
        packets = [packet for packet in file.demux(stream) if packet.size]
        assert len(packets) == 24 and all(packet.is_keyframe for packet in packets)
        assert [packet.pts for packet in packets] == [i * packets[0].duration for i in range(24)]


@pytest.mark.parametrize("color", [(128, 128, 128), (200, 60, 60), (60, 200, 60), (60, 60, 200), (10, 10, 10)])
def test_colors_survive_the_file(tmp_path, color):
    frames = np.full((2, 48, 48, 3), color, np.uint8)
    back = miniatures.decoded(write_video(tmp_path / "clip.mp4", frames, 12)).astype(int)
    assert back.shape == frames.shape and np.abs(back - frames).max() <= 4


def test_a_video_with_dependent_images_is_not_turned_round(tmp_path):
    miniatures.encode(tmp_path / "inter.mp4", draw_clip(0, SMALL, np.random.default_rng(0)), rate=12)
    with pytest.raises(VideoError, match="depend on others"):
        write_reversed(tmp_path / "inter.mp4", tmp_path / "back.mp4")
    assert not (tmp_path / "back.mp4").exists()


# Layout, repeatability, refusals.


def test_classes_are_balanced_and_listed(drawn):
    listed = rows(drawn)
    assert {row["path"] for row in listed} == {f.relative_to(drawn).as_posix() for f in drawn.rglob("*.mp4")}
    counts = Counter((row["split"], row["label"]) for row in listed)
    assert counts == {("train", n): 2 for n in CLASS_NAMES} | {("test", n): 1 for n in CLASS_NAMES}
    assert all(Path(row["path"]).parts[:2] == (row["split"], row["label"]) for row in listed)
    assert set(Counter(row["source"] for row in listed).values()) == {2}
    assert len(PAIRS) == 12 and len(set(CLASS_NAMES)) == 24
    assert json.loads((drawn / "motion_pairs.json").read_text())["settings"]["size"] == 48


def test_files_do_not_depend_on_the_number_of_workers(drawn, tmp_path):
    assert digests(draw(tmp_path / "again", SMALL, workers=1)) == digests(drawn)


def test_another_seed_draws_other_clips(drawn, tmp_path):
    other = draw(tmp_path / "other", replace(SMALL, train=0, seed=1))
    for file in other.rglob("*.mp4"):
        assert file.read_bytes() != (drawn / file.relative_to(other)).read_bytes()


def test_drawing_again_touches_nothing_and_mends_what_is_missing(tmp_path):
    settings = replace(SMALL, train=0, frames=8)
    root = draw(tmp_path / "data", settings)
    before = digests(root)
    times = {file: file.stat().st_mtime_ns for file in root.rglob("*.mp4")}
    told = []
    draw(root, settings, progress=lambda done, total: told.append((done, total)))
    assert told == [] and times == {file: file.stat().st_mtime_ns for file in root.rglob("*.mp4")}
    next(root.glob("test/closing/*.mp4")).unlink()
    draw(root, settings, progress=lambda done, total: told.append((done, total)))
    assert told == [(24, 24)] and digests(root) == before


def test_an_interrupted_drawing_leaves_whole_files_only_and_goes_on(tmp_path):
    settings = replace(SMALL, train=0, frames=8)

    def interrupt(done: int, total: int) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path / "data", settings, workers=1, progress=interrupt)
    left = [file for file in (tmp_path / "data").rglob("*") if file.is_file() and file.suffix != ".json"]
    assert 6 <= len(left) < 24 and all(len(miniatures.decoded(file)) == 8 for file in left)
    assert digests(draw(tmp_path / "data", settings)) == digests(draw(tmp_path / "whole", settings))


def test_other_content_is_refused_and_left_alone(drawn, tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(b"x")
    with pytest.raises(ConfigError, match="other files"):
        draw(tmp_path, SMALL)
    with pytest.raises(ConfigError, match="is a file"):
        draw(tmp_path / "holiday.mp4", SMALL)
    before = digests(drawn)
    with pytest.raises(ConfigError, match=r"noise 4\.0, not 9"):
        draw(drawn, replace(SMALL, noise=9))
    assert digests(drawn) == before and (tmp_path / "holiday.mp4").read_bytes() == b"x"


@pytest.mark.parametrize("wrong", [{"size": 47}, {"size": 16}, {"noise": -1}, {"distractors": -1}, {"train": -2}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MotionPairs(**wrong)


# What the settings and the names promise.


def test_difficulty_settings_change_what_is_seen():
    easy = MotionPairs(distractors=0, drift=0, shake=0, noise=0, size=64)

    def movement(**harder) -> float:  # mean change from frame to frame, over clips in which one sprite only fades in
        clips = [draw_clip(4, replace(easy, **harder), np.random.default_rng(seed)) for seed in range(4)]
        return float(np.mean([np.abs(np.diff(clip.astype(float), axis=0)).mean() for clip in clips]))

    still = movement()
    for harder in ({"distractors": 3}, {"drift": 1.0}, {"shake": 0.02}, {"noise": 8.0}):
        assert movement(**harder) > 1.3 * still, harder


def test_nuisances_have_no_direction_in_time():
    # Over many clips: what moves without meaning goes as often, and as far, one way as the other.
    settings = MotionPairs(size=32, distractors=1)
    time = (np.arange(settings.frames) + 0.5) / settings.frames
    names = ("drift x", "drift y", "camera x", "distractor x", "distractor y")
    ends: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(400):
        scene = set_scene([], np.ones_like(time), settings, time, np.random.default_rng(seed))
        wanderer = scene.distractors[0]
        tracks = (scene.background_x, scene.background_y, scene.camera_x, wanderer.x, wanderer.y)
        for name, track in zip(ends, tracks):
            ends[name].append(track[-1] - track[0])
    for name, way in ends.items():
        assert abs(np.mean(way)) < 4 * np.std(way) / np.sqrt(len(way)) and np.std(way) > 0, name
        assert 0.4 < np.mean(np.array(way) > 0) < 0.6, name


def test_the_drawn_pixels_move_as_named():
    # The image's axes: what the plan calls left and up is left and up on the screen.
    bare = MotionPairs(distractors=0, drift=0, shake=0, noise=0)
    for forward, axis in (("moving left", 2), ("moving up", 1)):
        pair = [first for first, _ in PAIRS].index(forward)
        for seed in range(4):
            clip = draw_clip(pair, bare, np.random.default_rng(seed)).astype(float)
            change = np.abs(clip - np.median(clip, axis=0)).sum(-1)  # the sprite, over a background that stands still
            places = np.arange(clip.shape[1])
            center = (change.sum(3 - axis) * places).sum(1) / change.sum((1, 2))
            assert center[-1] < center[0] - 15


def test_turning_clockwise_on_the_screen():
    # An arrow that points right and then turns clockwise points down: its head's row grows.
    scene = staged("turning clockwise")[0]
    arrow = scene.sprites[0]
    assert all(np.all(np.diff(s.sprites[0].angle) >= 0) for s in staged("turning clockwise"))
    arrow.x = arrow.y = 0.0
    arrow.angle = np.array([0.0, np.pi / 2])
    frame, row, column, u, _ = coordinates_in(arrow, np.zeros(2), np.zeros(2), 2, 96)
    head = u > 0.6
    assert column[head & (frame == 0)].mean() > 60 and abs(row[head & (frame == 0)].mean() - 47.5) < 5
    assert row[head & (frame == 1)].mean() > 60 and abs(column[head & (frame == 1)].mean() - 47.5) < 5


def test_the_other_motions_are_what_they_are_called():
    def distance(scene) -> np.ndarray:
        first, second = scene.sprites
        return np.hypot(first.x - second.x, first.y - second.y)

    facts = {
        "coming nearer": lambda s: s.sprites[0].width[-1] > 3 * s.sprites[0].width[0],
        "appearing": lambda s: s.sprites[0].opacity[0] < 0.1 and s.sprites[0].opacity[-1] > 0.9,
        "coming together": lambda s: distance(s)[-1] < 0.6 * distance(s)[0],
        "opening": lambda s: s.sprites[0].phase[-1] > s.sprites[0].phase[0] + 0.8,
        "covering": lambda s: distance(s)[0] > 0.8 and distance(s)[-1] < 0.1,
        "getting brighter": lambda s: s.light[-1] > 2 * s.light[0],
        "stretching": lambda s: (
            s.sprites[0].width[-1] > 3 * s.sprites[0].width[0] and np.ndim(s.sprites[0].height) == 0
        ),
        "filling": lambda s: s.sprites[0].phase[-1] > s.sprites[0].phase[0] + 0.8,
    }
    for name, fact in facts.items():
        assert all(fact(scene) for scene in staged(name)), name
    for scene in staged("getting faster"):
        speed = np.hypot(np.diff(scene.sprites[1].x), np.diff(scene.sprites[1].y))
        assert speed[-8:].mean() > 3 * speed[:8].mean()


@pytest.mark.parametrize(("name", "blind"), [("tsn", True), ("tim", False)])
def test_tsn_gives_both_partners_the_same_logits(drawn, name, blind):
    torch.manual_seed(0)
    model = create_model(f"{name}_test_resnet", num_classes=24).eval()
    torch.nn.init.normal_(model.head.weight)  # a fresh head says next to nothing
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # timm starts residual branches, where the modules live, at zero

    def logits(path: Path) -> torch.Tensor:
        frames = as_clips(load_views(path, Sampling(), Preprocessing(size=48, short_side=48)).frames)
        with torch.inference_mode():
            return model(frames)[0]

    for number, (forward, backward) in enumerate(PAIRS):
        clip = f"{number:02d}-0000.mp4"
        one, other = (logits(drawn / "test" / name / clip) for name in (forward, backward))
        same = torch.allclose(one, other, rtol=0, atol=1e-5 * float(one.abs().max()))
        assert same == blind, (forward, backward)
