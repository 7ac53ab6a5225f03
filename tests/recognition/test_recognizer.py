"""One recognizer: equal answers for a file and its frames, names that follow their classes, one file for all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import write_video
from teinet.errors import CheckpointError, ConfigError, VideoError
from teinet.models.factory import create_model
from teinet.recognition import Recognizer
from tests.networks import wake

NAMES = ["opening", "closing", "left", "right", "up", "down", "still"]


def network(name: str = "teinet_resnet10t", num_frames: int = 4, seed: int = 0):
    torch.manual_seed(seed)
    return wake(create_model(name, num_classes=len(NAMES), num_frames=num_frames), head_std=0.5)


def small(model) -> Preprocessing:
    return Preprocessing(size=56, short_side=64, **model.data_config)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    model = network()
    return Recognizer(model, NAMES, preprocessing=small(model))


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 80, (21, 64, 80, 3), dtype=np.uint8)
    for t in range(21):
        frames[t, 20:40, 2 * t : 2 * t + 24] = (250, 10 * t, 60)
    return frames


@pytest.fixture(scope="module")
def video(tmp_path_factory, frames):
    return write_video(tmp_path_factory.mktemp("videos") / "moving.mp4", frames, 10, quantizer=10)


def test_the_best_device_is_the_default(recognizer, tmp_path, monkeypatch):
    recognizer.save(tmp_path / "net.safetensors")
    monkeypatch.setattr("teinet.recognition.recognizer.find_device", lambda name: torch.device({"auto": "meta"}[name]))
    assert Recognizer.load(tmp_path / "net.safetensors").device.type == "meta"


def test_a_reader_is_read_by_its_path(recognizer, video):
    want, reader = recognizer(video), VideoReader(video)
    for got in (recognizer(reader), *recognizer.predict_many([reader])):
        assert got.path == str(video) and got.labels == want.labels
    with pytest.raises(ConfigError, match="for one, call"):
        recognizer.predict_many(reader)
    for address in ("ftp://host/x.mp4", Path("rtsp://me:secret@host/x")):
        with pytest.raises(ConfigError, match=r"^(ftp://host/x\.mp4|rtsp://host/x) is an address, not a file; down"):
            recognizer(address)
    for span in ({"start": "1"}, {"end": "2"}):
        with pytest.raises(ConfigError, match="it must be a number"):
            recognizer(video, **span)
        with pytest.raises(ConfigError, match="it must be a number"):
            recognizer.predict_many([video], **{"start": 0, "end": 3} | span)
    with pytest.raises(ConfigError, match="live video has no end; push its frames"):
        recognizer(VideoReader("camera"))
    assert "no end" in next(recognizer.predict_many([VideoReader("camera")])).error


def test_an_answer_names_scores_frames_and_times(recognizer, video):
    answer = recognizer(video, top_k=3)
    assert answer.path == str(video) and answer.error is None
    assert [score for _, score in answer.labels] == sorted(answer.scores, reverse=True)[:3]
    assert answer.label == NAMES[answer.scores.argmax()]
    assert answer.scores.shape == (7,) and answer.scores.sum() == pytest.approx(1, abs=1e-5)
    assert answer.num_frames == 21
    assert answer.frame_indices.tolist() == [[2, 7, 13, 18]]  # the middles of four parts of 21 frames
    np.testing.assert_allclose(answer.times, [[0.2, 0.7, 1.3, 1.8]], atol=1e-6)
    assert answer.to_dict()["frame_indices"] == [[2, 7, 13, 18]]
    assert answer.label in repr(answer)


@pytest.mark.parametrize("views", ["1x1", "3x3"])
def test_a_file_and_its_decoded_frames_get_the_same_answer(recognizer, video, views):
    decoded = torch.from_numpy(VideoReader(video).sample(np.arange).images)
    by_path = recognizer(video, views=views)
    for same in (decoded, decoded.numpy(), str(video)):
        assert np.array_equal(recognizer(same, views=views).scores, by_path.scores)
    backwards = recognizer(decoded.flip(0), views=views).scores
    assert np.abs(backwards - by_path.scores).max() > 1e-3  # far more than another order of the mean changes


def test_the_answer_is_the_networks_own_mean_over_views(recognizer, frames):
    """Seven clips are more than one pass takes, so the passes are joined rightly too."""
    from teinet.data.view_loading import load_views
    from teinet.models.classifier import as_clips

    clips = as_clips(load_views(frames, recognizer.sampling, recognizer.preprocessing, "7x1").frames)
    with torch.inference_mode():
        one_by_one = torch.stack([recognizer.model(clip[None])[0].softmax(0) for clip in clips]).mean(0)
    answer = recognizer(frames, views="7x1", top_k=99)
    np.testing.assert_allclose(answer.scores, one_by_one.numpy(), atol=1e-6)
    assert len(answer.labels) == len(NAMES)


def test_names_follow_their_classes_when_the_outputs_are_permuted(recognizer, frames):
    order = [3, 0, 6, 1, 5, 2, 4]
    other = network()
    other.load_state_dict(recognizer.model.state_dict())
    with torch.no_grad():
        other.head.weight.copy_(other.head.weight[order])
        other.head.bias.copy_(other.head.bias[order])
    permuted = Recognizer(other, [NAMES[i] for i in order], preprocessing=small(other))(frames)
    expected = recognizer(frames)
    assert [name for name, _ in permuted.labels] == [name for name, _ in expected.labels]
    np.testing.assert_allclose([s for _, s in permuted.labels], [s for _, s in expected.labels], atol=1e-6)


def test_a_saved_recognizer_gives_equal_scores_and_keeps_its_settings(tmp_path, video):
    model = network("tsn_resnet18", num_frames=3)
    sampling = Sampling(num_frames=3, strategy="dense", window=9)
    before = Recognizer(model, NAMES, preprocessing=small(model), sampling=sampling, header={"license": "MIT"})
    before.save(tmp_path / "net.safetensors")
    after = Recognizer.load(tmp_path / "net.safetensors")
    assert after.class_names == tuple(NAMES)
    assert (after.preprocessing, after.sampling) == (before.preprocessing, sampling)
    assert after.header["license"] == "MIT"
    assert np.array_equal(after(video).scores, before(video).scores)


def test_the_file_decides_the_colors_whatever_the_backbones_library_says_now(tmp_path, frames):
    model = network()
    model.mean.fill_(0.3)  # a network that was trained with another mean than timm's
    model.data_config["mean"] = (0.3, 0.3, 0.3)
    recognizer = Recognizer(model, NAMES, preprocessing=small(model))
    recognizer.save(tmp_path / "net.safetensors")
    loaded = Recognizer.load(tmp_path / "net.safetensors")
    assert loaded.preprocessing.mean == (0.3, 0.3, 0.3)
    assert np.array_equal(loaded(frames).scores, recognizer(frames).scores)


def test_what_does_not_fit_the_network_is_refused():
    model = network()
    with pytest.raises(ConfigError, match=r"Recognizer\.load\('runs/first'\)"):
        Recognizer("runs/first")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="6 class names for a model with 7"):
        Recognizer(model, NAMES[:6])
    with pytest.raises(ConfigError, match="twice: up"):
        Recognizer(model, [*NAMES[:6], "up"])
    with pytest.raises(ConfigError, match="set_num_frames"):
        Recognizer(model, NAMES, sampling=Sampling(num_frames=8))
    with pytest.raises(ConfigError, match="normalizes with"):
        Recognizer(model, NAMES, preprocessing=Preprocessing(mean=(0.1, 0.2, 0.3)))


def test_a_weights_file_without_names_or_of_another_length_is_refused(tmp_path):
    from teinet.models.checkpoint import save_weights

    path = tmp_path / "net.safetensors"
    save_weights(path, network(), {})
    with pytest.raises(CheckpointError, match="no class names"):
        Recognizer.load(path)
    save_weights(path, network(), {"class_names": NAMES, "sampling": {"num_frames": 16}})
    with pytest.raises(CheckpointError, match=r"net\.safetensors.*16 frames"):
        Recognizer.load(path)


def test_one_bad_video_among_many_is_an_answer_of_its_own(recognizer, video, frames, tmp_path):
    bad = tmp_path / "text.mp4"
    bad.write_text("this is no video")
    answers = list(recognizer.predict_many([video, bad, tmp_path / "gone.mp4", frames, frames[0], video], workers=2))
    assert [answer.error is None for answer in answers] == [True, False, False, True, False, True]
    assert answers[1].path == str(bad) and answers[1].labels == () and answers[1].label is None
    assert "shape" in answers[4].error
    assert np.array_equal(answers[5].scores, recognizer(video).scores)
    with pytest.raises(VideoError):
        recognizer(bad)


@pytest.mark.parametrize("views", ["1x1", "2x3"])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batches_over_several_videos_give_the_scores_of_single_ones(
    recognizer, video, frames, tmp_path, views, batch_size
):
    videos = [video, tmp_path / "gone.mp4", frames, frames[::-1], frames[5:], frames[0], frames[:9]]
    alone = list(recognizer.predict_many(videos, views=views, top_k=2))
    sizes = []
    hook = recognizer.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    together = list(recognizer.predict_many(videos, views=views, top_k=2, batch_size=batch_size))
    hook.remove()
    assert max(sizes) == min(batch_size, sum(sizes)) and len(sizes) == -(-sum(sizes) // batch_size)
    assert [(p.path, p.error, p.num_frames) for p in together] == [(p.path, p.error, p.num_frames) for p in alone]
    assert [p.error is None for p in together] == [True, False, True, True, True, False, True]
    for one, other in zip(together, alone, strict=True):
        if one.error is None:
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
            assert np.array_equal(one.frame_indices, other.frame_indices) and one.label == other.label
    assert np.abs(together[2].scores - together[3].scores).max() > 1e-3  # the videos are told apart


def test_the_last_batch_is_filled_up_for_a_compiled_network(recognizer, frames, monkeypatch):
    """Another number of views would be compiled again, in half a minute."""
    monkeypatch.setattr("teinet.models.optimized.is_compiled", lambda model: True)
    sizes = []
    hook = recognizer.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    answers = list(recognizer.predict_many([frames, frames[::-1], frames], batch_size=2))
    hook.remove()
    assert sizes == [2, 2]
    np.testing.assert_allclose(answers[2].scores, recognizer(frames).scores, atol=1e-5)


@pytest.mark.parametrize("batch_size", [None, 6])
def test_many_videos_are_read_only_a_little_ahead(recognizer, frames, batch_size):
    taken = []
    answers = recognizer.predict_many((taken.append(i) or frames for i in range(50)), workers=2, batch_size=batch_size)
    next(answers)
    assert len(taken) <= 4 + (batch_size or 1)
    answers.close()


def test_a_list_of_frames_is_one_video(recognizer, frames):
    want = recognizer(frames).scores
    pictures = [Image.fromarray(frame) for frame in frames]
    for same in (list(frames), tuple(torch.from_numpy(frames)), pictures, [p.convert("RGBA") for p in pictures]):
        assert np.array_equal(recognizer(same).scores, want)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frames: [str(i) for i in range(3)], "list of paths is several videos: .*predict_many"),
        (lambda frames: [frames, frames], "several videos: .*predict_many"),
        (lambda frames: frames[None], "several videos: .*predict_many"),
        (lambda frames: [frames[0], frames[1][:9]], "image 1 .*one size"),
        (lambda frames: [frames[0], frames[1].astype(float)], r"image 1 .*float64.*expected uint8 \(H, W, 3\) in RGB"),
        (lambda frames: frames.transpose(0, 3, 1, 2), r"expected \(T, H, W, 3\) uint8 RGB.*transpose"),
        (lambda frames: [], "empty list"),
        (lambda frames: 7, "list of .* PIL images; got a int"),
    ],
)
def test_what_is_no_video_is_told_from_one(recognizer, frames, change, words):
    with pytest.raises(ConfigError, match=words):
        recognizer(change(frames))


def test_wrong_settings_are_refused_before_any_video_is_read(recognizer):
    def never():
        pytest.fail("a video was read")
        yield

    for wrong in ({"views": "2x0"}, {"top_k": 0}, {"averaging": "votes"}, {"batch_size": 0}):
        with pytest.raises(ConfigError):
            recognizer.predict_many(never(), **wrong)


def test_a_device_that_is_not_there_is_named(recognizer):
    for device in ("cuda:99", "quantum"):
        with pytest.raises(ConfigError, match=device):
            recognizer.to(device)
    assert recognizer.to("cpu").device == torch.device("cpu")


def test_repr_says_what_it_is(recognizer):
    text = repr(recognizer)
    for fact in ("teinet_resnet10t", "4 frames at 56x56", "7 classes: opening, closing, ..., still"):
        assert fact in text
