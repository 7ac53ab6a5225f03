"""Exported files give the recognizer's answers, are refused where they would not, and work in the same commands."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from teinet import Recognizer, create_model
from teinet.cli.main import main
from teinet.data.lists.rows import Row
from teinet.data.lists.write_list import write_rows
from teinet.data.motion_pairs.motions import PAIRS
from teinet.data.transforms import Preprocessing, test_crops
from teinet.data.video.writer import write_video
from teinet.errors import CheckpointError, ConfigError, RunError
from teinet.export import cached, exporting, onnx_model
from teinet.export.clips import load_clips
from teinet.export.formats import FORMATS, check_precision, find_format
from teinet.export.parity import check_parity, compare_logits
from teinet.models.exported import ExportedNetwork, computes_bf16
from teinet.models.header import read_header

T, NAMES = 4, ["jump", "run", "sit"]


def recognizer_of(name: str = "teinet_test_resnet", size: int = 40, short_side: int = 48, **how) -> Recognizer:
    torch.manual_seed(0)
    model = create_model(name, num_classes=len(NAMES), num_frames=T, pretrained=False, **how)
    torch.nn.init.normal_(next(model.head.parameters()))  # so that clips differ
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1, 0.1)
    pixels = Preprocessing(**model.data_config | {"size": size, "short_side": short_side})
    return Recognizer(model, NAMES, preprocessing=pixels, header={"frame_interval": 0.2, "license": "MIT"})


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A list of six clips of waves, 60 x 80, of two classes."""
    folder, rows = tmp_path_factory.mktemp("clips"), []
    y, x = np.mgrid[:60, :80]
    for number in range(6):
        t = np.arange(12)[:, None, None, None]
        waves = np.stack([np.sin(x / (5 + number)), np.cos(y / 7), np.sin((x + y) / 9)], -1)
        frames = (waves * np.cos(t * (number + 1) / 5) * 90 + 128).astype(np.uint8)
        path = write_video(folder / f"{number}.mp4", frames, 10)
        rows.append(Row(path=str(path), label=NAMES[number % 2]))
    write_rows(folder / "clips.csv", rows)
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def exported(clips, tmp_path_factory):
    """A bidirectional and a causal TEINet with their files."""
    folder, found = tmp_path_factory.mktemp("exported"), {}
    for causal in (False, True):
        own = recognizer_of(causal=causal)
        path = folder / f"{'causal' if causal else 'both'}.onnx"
        found[causal] = (own, path, own.export(path, data=str(clips)))
    return found


def views(count: int, size: int = 40) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, T, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("causal", [False, True])
def test_any_number_of_clips_gives_the_networks_logits(exported, causal):
    own, path, _ = exported[causal]
    file = Recognizer.load(path)
    for count in (1, 2, 5):
        want = own.logits(views(count))
        np.testing.assert_allclose(file.logits(views(count)), want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("causal", [False, True])
def test_the_file_says_what_it_is(exported, causal):
    own, path, done = exported[causal]
    header = read_header(path)
    assert header["class_names"] == NAMES and header["license"] == "MIT" and header["frame_interval"] == 0.2
    assert header["preprocessing"] == own.preprocessing.to_dict() and header["sampling"]["num_frames"] == T
    assert header["export"]["kind"] == ("step" if causal else "clip") == done.kind
    assert done.parity.same == 1 and done.parity.difference < 1e-5 and done.parity.clips == 6
    onnx.checker.check_model(path, full_check=True)
    inputs = {each.name: each.type.tensor_type for each in onnx.load(path).graph.input}
    states = [f"state_{i}" for i in range(len(header["export"]["states"]))]
    assert list(inputs) == ["frames", *states] and bool(states) == causal
    sizes = [size.dim_param or size.dim_value for size in inputs["frames"].shape.dim]
    assert sizes == (["N", "H", "W", 3] if causal else ["N", T, "H", "W", 3])
    assert inputs["frames"].elem_type == onnx.TensorProto.UINT8
    assert {node.domain for node in onnx.load(path).graph.node} <= {"", "ai.onnx"}  # every runtime has these


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_openvino_files_of_smaller_numbers_are_copied_and_say_what_they_hold(precision, clips, tmp_path):
    done = recognizer_of().export(tmp_path / "x.xml", format="openvino", precision=precision, data=str(clips))
    first = Recognizer.load(tmp_path / "x.xml")
    assert first.model.precision == precision
    assert (done.bf16 is not None) == (precision == "fp16" and computes_bf16())
    want = first.logits(views(2))
    for again in (copy.deepcopy(first), pickle.loads(pickle.dumps(first)), first.optimize(engine="openvino")):
        assert np.abs(again.logits(views(2)) - want).max() < 0.03 * np.abs(want).max()


def test_int8_is_compared_on_other_clips_than_those_that_it_is_calibrated_with():
    names = sorted(name for pair in PAIRS for name in pair)
    pixels = Preprocessing(size=32, short_side=32)
    header = {"class_names": names, "preprocessing": pixels.to_dict(), "sampling": {"num_frames": 2}}
    found = load_clips(header, None, calibrate=True)
    assert (len(found.views), len(found.calibration)) == (24, 48)
    compared = {view.tobytes() for view in found.views}
    assert len(compared) == 24 and not compared & {view.tobytes() for view in found.calibration}


def test_auto_takes_openvino_for_a_file_and_torch_where_a_network_cannot_be_exported(exported, monkeypatch, caplog):
    path = exported[False][1]
    assert Recognizer.load(path).optimize(engine="auto").model.runtime == "openvino"
    monkeypatch.setattr(cached, "export", lambda *_, **__: (_ for _ in ()).throw(RunError("other answers")))
    with caplog.at_level("INFO", "teinet"):
        fast = recognizer_of("teinet_test_resnet", size=48).optimize(engine="auto", precision="fp32")
    assert str(fast.model.optimization) == "folded, fp32"
    assert "does not run by openvino: other answers" in caplog.text and "engine: folded" in caplog.text


def test_openvino_makes_programs_for_powers_of_two(exported):
    _, path, _ = exported[False]
    fast = Recognizer.load(path).optimize(engine="openvino", precision="fp32")
    want = fast.logits(views(3))
    np.testing.assert_allclose(fast.logits(views(3), at_once=8), want, atol=1e-5 * np.abs(want).max())
    assert [shapes[0][0] for shapes in fast.model._run._programs] == [3, 4]


def test_openvino_resizes_frames_of_another_size_alone(clips, tmp_path):
    """Its Interpolate took a third of the time where there was nothing to do."""
    recognizer_of().export(tmp_path / "x.xml", format="openvino", data=str(clips))
    network = ExportedNetwork(tmp_path / "x.xml")
    network.logits(views(1))
    network.logits_of_frames(np.zeros((T, 60, 80, 3), np.uint8))
    small, large = network._run._programs.values()
    for program, resizes in ((small, False), (large, True)):
        nodes = program.get_compiled_model().get_runtime_model().get_ordered_ops()
        kinds = {node.get_rt_info()["layerType"].astype(str) for node in nodes}
        assert any("Interpolate" in kind for kind in kinds) == resizes, kinds


@pytest.mark.parametrize("kind", ["tim", "se_tim", "teinet"])
def test_openvino_views_feature_maps_in_another_way_without_copying_them(kind, clips, tmp_path):
    """ResNet-50 with TIM took 1.6 times as long as TSN, mostly for copies."""
    recognizer_of(f"{kind}_test_resnet").export(tmp_path / "x.xml", format="openvino", data=str(clips))
    network = ExportedNetwork(tmp_path / "x.xml")
    network.logits(views(1))
    (program,) = network._run._programs.values()
    nodes = program.get_compiled_model().get_runtime_model().get_ordered_ops()
    kinds = [(node.get_rt_info()["layerType"].astype(str), list(node.get_output_shape(0))) for node in nodes]
    copied = [shape for kind, shape in kinds if kind == "Transpose" and len(shape) == 4 and shape[2:] != [1, 1]]
    assert copied == [[T, 3, 40, 40]]  # the pixels


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("tsn_test_resnet", {"consensus": "motion"}),
        ("tsn_test_resnet", {"consensus": "motion", "causal": True}),
        ("teinet_test_resnet", {"consensus": "motion", "causal": True}),
        ("teinet_test_resnet", {"consensus": "temporal"}),
        ("teinet_test_resnet", {"consensus": "difference"}),
        ("teinet_test_resnet", {"consensus": "difference", "causal": True}),
        ("tsn_test_resnet", {"consensus": "temporal_difference"}),
    ],
)
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_heads_that_see_motion_are_exported(name, how, format, clips, tmp_path):
    own = recognizer_of(name, **how)
    done = own.export(tmp_path / f"x{find_format(format).suffix}", format=format, data=str(clips))
    assert done.kind == ("step" if how.get("causal") else "clip") and done.parity.difference < 1e-5
    want = own.logits(views(2))
    np.testing.assert_allclose(Recognizer.load(done.path).logits(views(2)), want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("short_side", [40, 48])
def test_frames_are_resized_and_cropped_as_in_a_test(short_side):
    pixels = Preprocessing(size=40, short_side=short_side)
    front = onnx_model._front(pixels, 3, T, 10)
    session = onnxruntime.InferenceSession(front.SerializeToString())
    for height, width in ((60, 80), (90, 64), (48, 48), (30, 41)):
        y, x = np.mgrid[:height, :width]
        waves = np.stack([np.sin(x / 7), np.cos(y / 5), np.sin((x + y) / 11)], -1) * 90 + 128
        clip = np.repeat(waves[None], T, 0).astype(np.uint8)
        (found,) = session.run(None, {"frames": clip[None]})
        want = test_crops(clip, pixels)[0].transpose(0, 3, 1, 2)
        assert found.shape == want.shape and np.abs(found.astype(int) - want).max() <= 3


def test_pixels_normalization_and_averages_are_inside(exported, clips):
    """onnxruntime alone, as any program would use it: the frames of a video in, its class out."""
    own, path, _ = exported[False]
    session = onnxruntime.InferenceSession(str(path))
    for height, width in ((60, 80), (90, 64), (40, 40), (48, 48), (30, 41)):
        frames = np.random.default_rng(height).integers(0, 256, (3, T, height, width, 3), dtype=np.uint8)
        logits, scores = session.run(["logits", "scores"], {"frames": frames})
        if (height, width) == (40, 40):  # the network's size: as they are
            cut = frames
        else:
            cut = np.concatenate([test_crops(clip, own.preprocessing) for clip in frames])
        want = own.logits(cut)
        np.testing.assert_allclose(logits, want, atol=0.02 * np.abs(want).max())  # a gray level in some pixels
        np.testing.assert_allclose(scores, own.scores(cut), atol=0.01)


def test_a_causal_file_takes_frame_by_frame_and_clips(exported, clips):
    own, path, _ = exported[True]
    file = Recognizer.load(path)
    assert file.is_causal and not Recognizer.load(exported[False][1]).is_causal
    film = np.random.default_rng(0).integers(0, 256, (2, 7, 60, 80, 3), dtype=np.uint8)
    ours, theirs = own.stream(batch=2), file.stream(batch=2)
    for t in range(7):
        if t == 4:
            ours.reset([1])
            theirs.reset([1])
        frames = {0: film[0, t]} if t == 5 else film[:, t]
        want, found = ours.step(frames), theirs.step(frames)
        np.testing.assert_allclose(found.logits, want.logits, atol=1e-5 * float(want.logits.abs().max()))
        np.testing.assert_allclose(found.scores, want.scores, atol=1e-5)
    with pytest.raises(ConfigError, match="takes whole clips, and no single frames; export a causal network"):
        Recognizer.load(exported[False][1]).stream()


@pytest.mark.parametrize("name", ["tsn_test_resnet", "tsm_test_resnet", "mem_test_resnet", "se_tim_test_resnet"])
@pytest.mark.parametrize("causal", [False, True])
def test_every_module_can_be_exported(name, causal, clips, tmp_path):
    own = recognizer_of(name, causal=causal)
    done = own.export(tmp_path / "a.onnx", data=str(clips))
    assert done.kind == ("step" if causal and not name.startswith("tsn") else "clip")


def test_a_file_that_answers_otherwise_is_not_kept(clips, tmp_path, monkeypatch):
    own, path = recognizer_of(), tmp_path / "a.onnx"
    path.write_bytes(b"earlier")
    make = exporting.to_onnx

    def broken(*args):
        model = make(*args)
        weight = next(each for each in model.graph.initializer if len(each.dims) == 4)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.001, weight.name))
        return model

    monkeypatch.setattr(exporting, "to_onnx", broken)
    with pytest.raises(RunError, match=r"gives other answers .*no file was written"):
        own.export(path, data=str(clips))
    assert path.read_bytes() == b"earlier" and [each.name for each in tmp_path.iterdir()] == ["a.onnx"]


def test_parity_by_hand():
    wanted = np.array([[0.0, np.log(3)], [4.0, 0.0]])  # probabilities 1/4, 3/4
    got = np.array([[np.log(3), 0.0], [4.0, 0.0]])
    found = compare_logits(got, wanted)
    assert (found.clips, found.same) == (2, 0.5)
    assert found.probability == pytest.approx(0.5) and found.mean_probability == pytest.approx(0.25)
    assert found.difference == pytest.approx(np.log(3) / 4)
    table = np.random.default_rng(0).normal(size=(20, 3))

    def off(by: float):
        return lambda part: table[part[:, 0, 0, 0, 0]] * (1 + by)

    rows = [np.full((1, 1, 1, 1), number) for number in range(20)]
    assert check_parity(off(0), off(5e-6), rows, precision="fp32").clips == 20
    with pytest.raises(RunError, match="other answers"):
        check_parity(off(0), off(2e-5), rows, precision="fp32")
    assert check_parity(off(0), off(2e-5), rows, precision="int8").same == 1
    with pytest.raises(RunError, match="not finite"):
        check_parity(off(0), off(float("nan")), rows, precision="int8")


@pytest.mark.parametrize("causal", [False, True])
def test_smaller_weights(causal, clips, tmp_path):
    own = recognizer_of(causal=causal)
    sizes = {}
    for precision in ("fp32", "fp16", "int8"):
        done = own.export(tmp_path / f"{precision}.onnx", precision=precision, data=str(clips))
        sizes[precision] = done.megabytes
        assert Recognizer.load(done.path).model.precision == precision
        assert done.parity.same >= 0.9 and done.parity.difference < {"fp32": 1e-5, "fp16": 5e-3, "int8": 0.3}[precision]
    assert sizes["fp16"] < 0.75 * sizes["fp32"]
    nodes = onnx.load(tmp_path / "int8.onnx").graph
    types = {each.name: each.data_type for each in nodes.initializer}
    convolutions = [node for node in nodes.node if node.op_type == "Conv"]
    made_of = {output: node for node in nodes.node for output in node.output}
    whole = [
        made_of.get(node.input[1]) is None and types[node.input[1]] == onnx.TensorProto.FLOAT for node in convolutions
    ]
    assert all(whole[:3]) and not any(whole[3:])  # the first three stay in fp32
    assert not any(
        made_of.get(node.input[0], node).op_type == "DequantizeLinear"
        for node in nodes.node
        if node.op_type == "Sigmoid"
    )


def test_formats_and_precisions_by_name():
    assert [each.name for each in FORMATS] == ["onnx", "openvino", "web"]
    with pytest.raises(ConfigError, match=r"no format 'onx'; formats: onnx, openvino, web\. Did you mean 'onnx'"):
        find_format("onx")
    with pytest.raises(ConfigError, match=r"no precision 'int4'; it has fp32, fp16, int8\."):
        check_precision(find_format("onnx"), "int4")


def test_int8_needs_training_clips(tmp_path):
    with pytest.raises(
        ConfigError, match=r"int8 is calibrated with training clips, .*teinet export --precision int8 --data LIST"
    ):
        recognizer_of().export(tmp_path / "a.onnx", precision="int8")


def test_damaged_and_foreign_files_are_named(exported, tmp_path):
    content = exported[False][1].read_bytes()
    for name, damaged, words in (
        ("cut.onnx", content[: len(content) // 2], "no ONNX file, or cut off"),
        ("empty.onnx", b"", "no ONNX file, or cut off"),
        ("text.onnx", b"no protobuf at all", "no ONNX file, or cut off"),
        ("text.xml", b"<net>", "no OpenVINO file, or cut off"),
        ("other.xml", b"<net><rt_info/></net>", "an OpenVINO file without a teinet header"),
    ):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=words):
            Recognizer.load(tmp_path / name)
    foreign = onnx.load(exported[False][1])
    foreign.metadata_props[0].key = "other"
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="an ONNX file without a teinet header; teinet export writes"):
        Recognizer.load(tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="no such file"):
        ExportedNetwork(tmp_path / "none.onnx")


def test_what_an_exported_recognizer_cannot_do(exported, tmp_path):
    file = Recognizer.load(exported[False][1])
    for what, words in (
        (lambda: file.save(tmp_path / "a.safetensors"), "an exported recognizer cannot be saved"),
        (lambda: file.export(tmp_path / "a.onnx"), "an optimized or exported recognizer cannot be exported"),
        (lambda: file.set_num_frames(8), "fixed T"),
        (lambda: file.to("cuda"), "runs on the CPU"),
        (lambda: file.optimize(engine="compile"), "the engine compile is torch's; use onnx or openvino"),
        (lambda: file.optimize(engine="onnx", precision="int8"), "holds fp32, and no int8; export it again"),
        (lambda: file(np.zeros((9, 60, 80, 3), np.uint8), views="1x3"), "takes frames of 40 x 40 pixels, got 48 x 48"),
        (lambda: file.logits(np.zeros((1, 3, 40, 40, 3), np.uint8)), "takes clips of 4 frames, got 3"),
        (lambda: Recognizer.load(exported[False][1], device="cuda"), "runs on the CPU"),
    ):
        with pytest.raises(ConfigError, match=words):
            what()
    crops = file(np.zeros((9, 60, 80, 3), np.uint8), views="2x3/crop")
    assert crops.scores is not None and repr(file).endswith("on cpu, onnxruntime, fp32)")


def test_the_commands_take_an_exported_file(exported, clips, tmp_path, capsys):
    own, path, _ = exported[False]
    own.save(tmp_path / "own.safetensors")
    videos = [str(clips.parent / f"{number}.mp4") for number in range(3)]
    answers = []
    for weights in (tmp_path / "own.safetensors", path):
        assert main(["predict", str(weights), *videos, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for one, other in zip(*answers):
        assert [each["name"] for each in one["labels"]] == [each["name"] for each in other["labels"]]
        assert [each["score"] for each in one["labels"]] == pytest.approx(
            [s["score"] for s in other["labels"]], abs=1e-5
        )
    assert main(["test", str(path), "--data", str(clips), "--json", "--output", str(tmp_path / "test")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["test", str(tmp_path / "own.safetensors"), "--data", str(clips), "--json"]) == 0
    assert found["top1"] == json.loads(capsys.readouterr().out)["top1"]
    assert main(["timeline", str(exported[True][1]), videos[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["watch", str(exported[True][1]), videos[0], "--fast", "--threshold", "0.1"]) == 0
    assert all(json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert main(["benchmark", str(path), "--batch-size", "2", "--rounds", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert row["form"] == "onnxruntime, fp32" and row["parameters"] > 0 and row["macs"] > 0
    assert (
        main(
            [
                "export",
                str(tmp_path / "own.safetensors"),
                "--output",
                str(tmp_path / "a.onnx"),
                "--data",
                str(clips),
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["parity"]["same"] == 1
    assert main(["export", str(tmp_path / "own.safetensors"), "--output", str(tmp_path / "a.onnx")]) == 2
    assert "exists; --overwrite replaces it" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "own.safetensors"), "--output", str(tmp_path / "a.pt")]) == 2
    assert "ends in .onnx" in capsys.readouterr().err


def test_an_engine_exports_once_and_runs_the_file_again(clips, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path))
    own = recognizer_of()
    first = own.optimize(engine="onnx")
    (file,) = (tmp_path / "exported").glob("*.onnx")
    changed = file.stat().st_mtime_ns
    again = own.optimize(engine="onnx")
    assert file.stat().st_mtime_ns == changed
    np.testing.assert_allclose(first.logits(views(2)), own.logits(views(2)), atol=1e-4)
    np.testing.assert_array_equal(first.logits(views(2)), again.logits(views(2)))
    file.write_bytes(file.read_bytes()[:1000])  # a power cut could not do that, a disk can
    np.testing.assert_array_equal(own.optimize(engine="onnx").logits(views(2)), first.logits(views(2)))
    with torch.no_grad():
        own.model.head.bias.add_(1)
    own.optimize(engine="onnx")
    assert len(list((tmp_path / "exported").glob("*.onnx"))) == 2
    for engine, precision, words in (("onnx", "bf16", "has no precision bf16"), ("onx", "auto", "Did you mean 'onnx'")):
        with pytest.raises(ConfigError, match=words):
            own.optimize(engine=engine, precision=precision)


@pytest.mark.parametrize("causal", [False, True])
def test_openvino_gives_the_same_answers(exported, causal, clips, tmp_path):
    pytest.importorskip("openvino")
    own, path, _ = exported[causal]
    done = own.export(tmp_path / "a.xml", format="openvino", data=str(clips))
    assert done.parity.difference < 1e-5 and (tmp_path / "a.bin").is_file()
    want = own.logits(views(3))
    for file in (
        Recognizer.load(tmp_path / "a.xml"),
        Recognizer.load(path).optimize(engine="openvino", precision="fp32"),
    ):
        np.testing.assert_allclose(file.logits(views(3)), want, atol=1e-5 * np.abs(want).max())
        assert file.model.optimization == "openvino, fp32"
    with pytest.raises(ConfigError, match=r"onnxruntime runs \.onnx files"):
        Recognizer.load(tmp_path / "a.xml").optimize(engine="onnx")


_WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "onnx", "safetensors", "lightning"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
sys.meta_path.insert(0, Refuse())
from importlib import util
real = util.find_spec
util.find_spec = lambda name, *rest: None if name in ("torch", "torchvision") else real(name, *rest)
from teinet.cli.main import main
code = main(sys.argv[1:])
assert not {"torch", "timm", "torchvision"} & set(sys.modules)
sys.exit(code)
"""


def test_a_file_is_recognized_by_without_torch(exported, clips):
    own, path, _ = exported[False]
    video = str(clips.parent / "0.mp4")
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, "predict", str(path), video, "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    scores = dict(own(video, top_k=9).labels)
    assert {each["name"]: each["score"] for each in found["labels"]} == pytest.approx(scores, abs=0.02)  # PIL resizes
