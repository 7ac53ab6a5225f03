"""Live streams: equal to the clip at once, whoever joins, leaves, stalls or begins again; and their state in a file."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import teinet
from teinet.data.transforms import Preprocessing, test_crops
from teinet.errors import CheckpointError, ConfigError
from teinet.kernels import available_forms
from teinet.models import set_num_frames
from teinet.models.classifier import as_clips
from tests.models.test_causal import network
from tests.networks import wake

T, SIZE = 4, 32


@pytest.fixture(scope="module", params=["average", "difference"])
def recognizer(request):
    return recogniser_of(network("teinet", consensus=request.param))


def recogniser_of(model, **pixels) -> teinet.Recognizer:
    data = {key: model.data_config[key] for key in ("mean", "std")}
    preprocessing = Preprocessing(**{"size": SIZE, "short_side": SIZE + 4, **data, **pixels})
    return teinet.Recognizer(set_num_frames(model, T).float(), list("abc"), preprocessing=preprocessing)


def film(frames: int, seed: int = 0, size: tuple[int, int] = (48, 60)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)


def at_once(recognizer, images: np.ndarray) -> torch.Tensor:
    """Each frame's logits when the network sees them all as one clip."""
    clip = as_clips(test_crops(images, recognizer.preprocessing))
    with torch.no_grad():
        logits = set_num_frames(recognizer.model, len(images)).frame_logits(clip)[0]
    set_num_frames(recognizer.model, T)
    return logits


def near(got: torch.Tensor, want: torch.Tensor, limit: float = 1e-5) -> None:
    assert (got - want).abs().max() <= limit * want.abs().max()


def test_scores_that_are_no_numbers_are_an_error():
    model = network("teinet")
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="scores are not finite"):
        recogniser_of(model).stream().step(film(1))


def test_a_rectangle_steps_like_a_square():
    wide = recogniser_of(network("teinet"), size=(32, 48), short_side=32, fit="squash")
    images = film(5)
    want = at_once(wide, images)
    stream = wide.stream()
    near(torch.cat([stream.step([image]).logits for image in images]), want)
    cut = as_clips(test_crops(images, wide.preprocessing))
    assert cut.shape == (1, 5, 3, 32, 48)
    stream.reset()
    near(torch.cat([stream.step(frame[None]).logits for frame in cut[0]]), want)
    with pytest.raises(ConfigError, match=r"expected frames \(1, 3, 32, 48\)"):
        stream.step(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert "frames at 32x48" in repr(wide)


def test_frame_by_frame_is_the_clip_at_once(recognizer):
    images = film(9)
    stream = recognizer.stream()
    steps = [stream.step([image]) for image in images]
    want = at_once(recognizer, images)
    near(torch.cat([step.logits for step in steps]), want)
    clip = test_crops(images[:T], recognizer.preprocessing)
    np.testing.assert_allclose(steps[T - 1].scores[0], recognizer.scores(clip), atol=1e-4)
    for t, step in enumerate(steps):
        assert step.streams == (0,) and step.frames.tolist() == [t + 1]
        mean = want[max(0, t + 1 - T) : t + 1].mean(0)
        np.testing.assert_allclose(step.scores[0], mean.softmax(0), atol=1e-4)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(["frame", "none", "reset"]), min_size=3, max_size=3), min_size=1, max_size=10))
def test_cameras_come_and_go(recognizer, plan):
    """Each stream's logits are those of its own frames since it last began, whatever the others do."""
    stream = recognizer.stream(batch=3)
    own: list[list[np.ndarray]] = [[], [], []]
    for turn, row in enumerate(plan):
        for number, what in enumerate(row):
            if what == "reset":
                stream.reset([number])
                own[number] = []
        given = {n: film(1, seed=10 * turn + n, size=(40 + n, 50))[0] for n, what in enumerate(row) if what == "frame"}
        if not given:
            continue
        step = stream.step([given.get(n) for n in range(3)])
        assert step.streams == tuple(given)
        for number, logits in zip(step.streams, step.logits, strict=True):
            own[number].append(given[number])
            near(logits, at_once(recognizer, np.stack(own[number]))[-1])


def test_images_by_number_and_tensors_ready_cut(recognizer):
    images = film(2, seed=2)
    one, two, three = (recognizer.stream(batch=2) for _ in range(3))
    cut = as_clips(test_crops(images, recognizer.preprocessing))[0]
    want = one.step(list(images)).logits
    near(two.step({1: images[1], 0: images[0]}).logits, want)
    step = two.step(dict(zip(np.flatnonzero(np.array([1, 1])), images)))
    assert step.streams == (0, 1) and step.frames.tolist() == [2, 2]
    two.reset(np.flatnonzero(step.scores.max(1) > 0))
    near(two.step({number: images[number] for number in np.arange(2)}).logits, want)
    near(three.step(cut).logits, want)


def test_a_state_is_copied_kept_in_a_file_and_gone_on_with(recognizer, tmp_path):
    images = film(6, seed=3)
    stream = recognizer.stream()
    for image in images[:3]:
        stream.step([image])
    kept = stream.state.clone()
    stream.state.save(tmp_path / "state.safetensors")
    want = [stream.step([image]).logits for image in images[3:]]
    other = recognizer.stream()
    for state in (kept, other.state.load(tmp_path / "state.safetensors")):
        other.state = state
        for image, logits in zip(images[3:], want):
            near(other.step([image]).logits, logits)


@pytest.mark.parametrize("device", ["meta", "cuda"])
def test_streams_follow_their_recogniser(device):
    """Moved by one of its streams or by itself, and back; on "meta", which computes nothing, only where they are."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    recognizer = recogniser_of(network("teinet"))
    moved, other = recognizer.stream(), recognizer.stream(state="fp16")
    stays = recogniser_of(network("teinet")).stream()
    images = film(4)
    for stream in (moved, other, stays):
        stream.step(images[:1])
    if device == "meta":
        recognizer.model.to("meta")
        moved._follow()
        places = {tensor.device.type for tensor in (*moved._network.parameters(), *moved._network.buffers())}
        places |= {tensor.device.type for module in moved.state.past for tensor in module}
        assert places == {"meta"} and moved.state.frames.tolist() == [1]
        return
    moved.to("cuda")
    for place in ("cuda", "cpu", "cuda"):
        recognizer.to(place)
        want = stays.step(images[1:2]).scores
        np.testing.assert_allclose(moved.step(images[1:2]).scores, want, atol=1e-4)
        np.testing.assert_allclose(other.step(images[1:2]).scores, want, atol=1e-2)


def test_states_of_others_are_refused(recognizer, tmp_path):
    stream = recognizer.stream()
    (tmp_path / "broken.safetensors").write_bytes(b"no state")
    for name in ("none", "broken"):
        with pytest.raises(CheckpointError, match="cannot be read as the state of streams"):
            stream.state.load(tmp_path / f"{name}.safetensors")
    stream.state.save(tmp_path / "one.safetensors")
    plain = teinet.Recognizer(teinet.create_model("tsn_test_resnet", num_classes=3, num_frames=T), list("abc"))
    for other in (recognizer.stream(batch=2), plain.stream()):
        with pytest.raises(CheckpointError, match=r"in the file and .* here; load it with"):
            other.state.load(tmp_path / "one.safetensors")


def test_half_precision_takes_half_the_memory_and_stays_near(recognizer):
    images = film(8, seed=4)
    whole, half = recognizer.stream(), recognizer.stream(state="fp16")
    assert half.state.nbytes < 0.6 * whole.state.nbytes
    for image in images:
        near(half.step([image]).logits, whole.step([image]).logits, 5e-3)


def test_memory_does_not_grow(recognizer):
    stream = recognizer.stream(batch=2)
    before, addresses = stream.state.nbytes, {t.data_ptr() for t in stream.state.tensors().values()}
    for image in film(5, seed=5):
        stream.step([image, image])
    images = [t.data_ptr() for t in stream.state.tensors().values() if t.dim() >= 4]
    assert stream.state.nbytes == before
    assert set(images) <= addresses or recognizer.model.sees_differences  # whose head and frame are copied


def test_what_does_not_fit_is_one_line_and_changes_nothing(recognizer):
    stream = recognizer.stream(batch=2)
    image = film(1)[0]
    for frames, words in [
        ([image], "expected 2 images, one per stream, got 1"),
        ({}, "an image for at least one"),
        ({2: image}, "no stream 2; streams are numbered 0 to 1"),
        ([image, image.astype(np.float32)], "stream 1: expected an image"),
        (torch.zeros(2, 3, 8, 8), r"expected frames \(2, 3"),
    ]:
        with pytest.raises(ConfigError, match=words):
            stream.step(frames)
    assert stream.state.frames.tolist() == [0, 0]
    with pytest.raises(ConfigError, match="no stream -1"):
        stream.reset([-1])
    for options, words in [({"batch": 0}, "at least 1"), ({"smoothing": 0}, "at least 1"), ({"state": "fp8"}, "same")]:
        with pytest.raises(ConfigError, match=words):
            recognizer.stream(**options)
    bidirectional = teinet.create_model("teinet_test_resnet", num_classes=3, num_frames=T)
    with pytest.raises(ConfigError, match="bidirectional"):
        teinet.Recognizer(bidirectional, list("abc")).stream()


@pytest.mark.parametrize("chunks", [(9,), (1, 4, 3, 1)])
def test_several_frames_at_once_are_as_many_single_steps(recognizer, chunks):
    images = torch.stack([as_clips(test_crops(film(9, seed), recognizer.preprocessing))[0] for seed in (1, 2)])
    exact = copy.deepcopy(recognizer.model).double()
    own = teinet.Recognizer(exact, list("abc"), preprocessing=recognizer.preprocessing)
    single, several = own.stream(batch=2, smoothing=3), own.stream(batch=2, smoothing=3)
    for stream in (single, several):
        stream.step({1: film(1)[0]})  # one of the two has begun already
    want = [single.step(frame) for frame in images.unbind(1)]
    got = [step for chunk in images.split(list(chunks), 1) for step in several.steps(chunk)]
    again = film(1, 7)[0]  # and both go on alike
    want, got = [*want, single.step([again, again])], [*got, several.step([again, again])]
    for a, b in zip(got, want, strict=True):
        near(a.logits, b.logits, 1e-10)
        assert a.streams == b.streams and a.frames.tolist() == b.frames.tolist()
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


def test_several_frames_of_another_shape_change_nothing(recognizer):
    stream = recognizer.stream()
    for shape in ((1, 0, 3, SIZE, SIZE), (2, 3, 3, SIZE, SIZE), (1, 3, SIZE, SIZE), (1, 2, 3, SIZE, SIZE + 1)):
        with pytest.raises(ConfigError, match=r"expected frames \(1, K, 3, 32, 32\)"):
            stream.steps(torch.zeros(shape, dtype=torch.uint8))
    assert stream.state.frames.tolist() == [0]


@pytest.fixture(scope="module")
def optimized(recognizer):
    if "cpu" not in available_forms():
        pytest.skip("no C++ compiler")
    return recognizer.optimize(engine="compile", precision="fp32")


def test_a_program_with_other_scores_is_not_run(recognizer, monkeypatch, caplog):
    fast = recognizer.optimize(engine="compile", precision="fp32")
    monkeypatch.setattr("teinet.models.optimized._program", lambda run, _: lambda *a: (2 * run(*a)[0], a[1]))
    frames = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    ours, theirs = (each.stream(2).step(frames) for each in (fast, recognizer))
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-4, atol=1e-4)
    assert "program with other scores" in caplog.text


@pytest.mark.parametrize("state", ["same", "fp16"])
def test_compiled_streams_are_those_of_the_plain_network(recognizer, optimized, state, caplog):
    fast, again, plain = optimized.stream(2, state=state), optimized.stream(2, state=state), recognizer.stream(2)
    programs = optimized.model._steps
    assert again._network._model is optimized.model and len(programs) == 1  # one for all streams of a kind
    assert None not in programs.values() and "cannot be compiled" not in caplog.text
    images = [torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8) for _ in range(6)]
    close = 1e-5 if state == "same" else 5e-3
    for t, frames in enumerate(images):
        if t == 4:  # one of them alone, and one that begins again
            for stream in (fast, plain):
                stream.reset([0])
            ours, theirs = (s.step({1: frames[1].permute(1, 2, 0)}) for s in (fast, plain))
            assert (ours.logits - theirs.logits).abs().max() <= close * theirs.logits.abs().max()
        ours, theirs = fast.step(frames), plain.step(frames)
        assert (ours.logits - theirs.logits).abs().max() <= close * theirs.logits.abs().max()
    maps = {tensor.dtype for own in fast.state.past for tensor in own if tensor.dim() >= 4}
    assert maps == {torch.float32 if state == "same" else torch.float16}
    with torch.inference_mode():
        ours = fast.step(images[0].clone())
    assert (ours.logits - plain.step(images[0]).logits).abs().max() <= close * theirs.logits.abs().max()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)  # a program is for so many
        with torch.inference_mode():
            ours = fast.step(images[1].clone())
    finally:
        torch.set_num_threads(threads)
    assert len(programs) == 2
    del programs[next(kind for kind in programs if threads + 1 in kind)]
    assert (ours.logits - plain.step(images[1]).logits).abs().max() <= close * theirs.logits.abs().max()


def test_several_compiled_frames_are_those_of_the_plain_network(recognizer, optimized):
    fast, plain = optimized.stream(2, together=3), recognizer.stream(2)
    for frames in torch.randint(0, 256, (3, 2, 3, 3, 32, 32), dtype=torch.uint8):
        for ours, theirs in zip(fast.steps(frames), plain.steps(frames), strict=True):
            assert (ours.logits - theirs.logits).abs().max() <= 1e-5 * theirs.logits.abs().max()


@pytest.mark.skipif("cpu" not in available_forms(), reason="no C++ compiler")
def test_several_compiled_frames_of_a_baseline():
    """Its state is a copy, however the program goes on to overwrite the frames."""
    plain = recogniser_of(network("tsm"))
    fast = plain.optimize(engine="compile", precision="fp32").stream(2, together=3)
    slow = plain.stream(2)
    for frames in torch.randint(0, 256, (3, 2, 3, 3, 32, 32), dtype=torch.uint8):
        steps = [*fast.steps(frames), fast.step(frames[:, 0])], [*slow.steps(frames), slow.step(frames[:, 0])]
        for ours, theirs in zip(*steps, strict=True):
            assert (ours.logits - theirs.logits).abs().max() <= 1e-5 * theirs.logits.abs().max()


@pytest.mark.parametrize(("backbone", "state"), [("test_resnet", "same"), ("test_efficientnet", "fp16")])
def test_in_sixteen_bits_steps_stay_near_those_of_thirty_two(backbone, state):
    torch.manual_seed(0)
    model = teinet.create_model(f"teinet_{backbone}", num_classes=3, num_frames=T, causal=True, shortcut_only=False)
    wake(model)
    plain = recogniser_of(model.eval())
    stream, truth = plain.optimize(engine="folded", precision="bf16").stream(2, state=state), plain.stream(2)
    assert next(stream._network.parameters()).dtype == torch.bfloat16
    for frames in torch.randint(0, 256, (6, 2, 3, 32, 32), dtype=torch.uint8):
        ours, theirs = stream.step(frames), truth.step(frames)
        near(ours.logits, theirs.logits, 0.03)
        np.testing.assert_allclose(ours.scores.sum(1), 1, atol=1e-6)


def test_a_step_that_no_compiler_takes_runs_folded(recognizer, monkeypatch, caplog):
    def fails(*args, **kwargs):
        raise RuntimeError("no such thing\nas a compiler")

    monkeypatch.setattr("teinet.models.optimized.torch.compile", lambda *args, **kwargs: fails)
    fast = recognizer.optimize(engine="compile", precision="fp32").stream(1)
    assert "the step cannot be compiled and runs folded, which is slower: no such thing" in caplog.text
    assert "as a compiler" not in caplog.text
    frames = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    near(fast.step(frames).logits, recognizer.stream(1).step(frames).logits)
