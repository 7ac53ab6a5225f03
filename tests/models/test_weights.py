"""Weights come out of a trainer's file, and nothing in it runs: each attack works on torch.load, and none on ours."""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import io
import os
import pathlib
import pickle
import random
import sys
import tarfile
import tracemalloc
import types
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from teinet.errors import CheckpointError
from teinet.models.weights import Inert, load_inert, read_checkpoint

WEIGHTS = {"conv1.weight": torch.arange(24.0).view(2, 3, 2, 2), "bn1.num_batches_tracked": torch.tensor(7)}


class Run:
    """Pickles as a call: unpickling it runs the function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args

    def __call__(self):  # so that a call can stand where a function is expected
        raise AssertionError


# What creates the file `new` when it is unpickled, given a pickle `evil` that does.
ATTACKS = {
    "os.system": lambda new, evil: Run(os.system, f"touch {new}"),
    "a chain of getattr": lambda new, evil: Run(Run(getattr, Run(__import__, "os"), "system"), f"touch {new}"),
    "a method": lambda new, evil: Run(pathlib.Path.touch, new),
    "torch.load": lambda new, evil: Run(functools.partial(torch.load, weights_only=False), str(evil)),
    "numpy": lambda new, evil: Run(np.save, f"{new}.npy", 1),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_in_a_file_runs(tmp_path, name, zipped):
    inner, path = tmp_path / "inner.pth", tmp_path / "evil.pth"
    inner.write_bytes(pickle.dumps(Run(os.system, f"touch {tmp_path / 'touched'}")))
    attack = ATTACKS[name](tmp_path / "touched", inner)
    torch.save({"state_dict": WEIGHTS, "meta": [attack, {"x": attack}]}, path, _use_new_zipfile_serialization=zipped)
    before = set(tmp_path.iterdir())
    tensors = read_checkpoint(path).tensors
    assert set(tmp_path.iterdir()) == before
    assert all(torch.equal(tensors[key], value) for key, value in WEIGHTS.items())
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    assert set(tmp_path.iterdir()) > before, "the attack is none"


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'touch {}'\ntR.",
        b"(S'touch {}'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch {}'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x00\x8c\x00\x8c\x00000S'touch {}'\n\x85R.",
    ],
    ids=["REDUCE", "INST", "OBJ", "STACK_GLOBAL"],
)
def test_opcodes_of_every_age_run_nothing(tmp_path, code):
    target = tmp_path / "touched"
    code = code.replace(b"{}", str(target).encode())
    (tmp_path / "evil.pth").write_bytes(code)
    with pytest.raises(CheckpointError, match=r"evil\.pth: cannot be read as weights"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not target.exists()
    pickle.loads(code)
    assert target.exists(), "the attack is none"


class Patched(nn.Module):
    """torch compares a class's source by its persistent id in files before 1.6, and writes the difference to a file."""

    dump_patches = True


def legacy_file(path: pathlib.Path, content: object, persistent_id=lambda _: None) -> None:
    """torch's format before 1.6, by hand, without storages."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return persistent_id(obj)

    with path.open("wb") as file:
        for head in (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {"little_endian": True}):
            pickle.dump(head, file, protocol=2)
        Pickler(file, protocol=2).dump(content)
        pickle.dump([], file, protocol=2)


@pytest.mark.filterwarnings("ignore::torch.serialization.SourceChangeWarning")
def test_persistent_ids_write_no_patch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    def persistent_id(obj):
        if obj is not Patched or seen:  # the id holds the class itself
            return None
        seen.append(obj)
        return "module", Patched, "a.py", "another source"

    legacy_file(tmp_path / "evil.pth", {"model": Patched}, persistent_id)
    assert load_inert("evil.pth") == {"model": Inert}
    assert os.listdir() == ["evil.pth"]
    torch.load("evil.pth", weights_only=False)
    assert set(os.listdir()) == {"evil.pth", "Patched.patch"}, "the attack is none"


def test_other_persistent_ids_are_not_followed(tmp_path):
    def write(pid):
        legacy_file(tmp_path / "a.pth", {"x": Patched}, lambda obj: pid if obj is Patched else None)

    write(("file", "/etc/passwd"))
    assert load_inert(tmp_path / "a.pth") == {"x": Inert}
    for pid in ("storage", (), ("storage",), ("storage", 1, 2, 3, 4)):
        write(pid)
        with pytest.raises(CheckpointError, match=r"cannot be read as weights|has no weights"):
            read_checkpoint(tmp_path / "a.pth")


def code_file(path: pathlib.Path, code: bytes) -> None:
    """The same format around a pickle's own code."""
    legacy_file(path, {})
    path.write_bytes(path.read_bytes().replace(pickle.dumps({}, 2), code, 1))


def test_a_pickle_changes_no_class_of_ours(tmp_path):
    """BUILD with a pair sets attributes: of what has no __setstate__."""
    for names in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"cos\nsystem\n", b"ctorch.nn\nModule\n"):
        code_file(tmp_path / "a.pth", b"\x80\x02" + names + b"N}X\x04\x00\x00\x00evilK\x01s\x86b.")
        built = load_inert(tmp_path / "a.pth")
        assert issubclass(built, Inert) and not hasattr(built, "evil") and not hasattr(Inert, "evil")
    assert not hasattr(torch._utils._rebuild_tensor_v2, "evil")


@pytest.mark.filterwarnings("ignore:.*is deprecated", "ignore:.*has been removed")
def test_programs_and_archives_are_refused_and_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.save(torch.jit.trace(nn.ReLU(), torch.ones(1)), "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: .*TorchScript program"):
        read_checkpoint("a.pth")
    with tarfile.open("b.pth.tar", "w") as tar:
        for name in ("storages", "tensors", "pickle"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(CheckpointError, match=r"b\.pth\.tar: .*before version 0\.2"):
        read_checkpoint("b.pth.tar")
    assert set(os.listdir()) == {"a.pth", "b.pth.tar"}


@pytest.fixture
def trainer(monkeypatch):
    """A module of a trainer that is installed where the file is written, and not where it is read."""
    module = types.ModuleType("mmengine_like")

    class HistoryBuffer:
        def __init__(self):
            self.history, self.methods = np.arange(3.0), {"mean": HistoryBuffer.mean}

        def mean(self):
            return self.history.mean()

    class ConfigDict(dict):
        def __getattr__(self, name):
            return self[name]

        def __reduce_ex__(self, protocol):
            return type(self), (), {"built": True}, None, iter(self.items())

    for cls in (HistoryBuffer, ConfigDict):
        cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
        setattr(module, cls.__name__, cls)
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = module.__name__, "HistoryBuffer.mean"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_what_trainers_store_next_to_the_weights_is_stood_in_for(tmp_path, monkeypatch, trainer, zipped, protocol):
    others = {
        "message_hub": {"log_scalars": collections.OrderedDict(loss=trainer.HistoryBuffer())},
        "cfg": trainer.ConfigDict(a=trainer.ConfigDict(b=1)),
        "args": argparse.Namespace(lr=0.1, betas=(0.9, np.float64(0.99))),
        "best": np.float32(71.2),
        "many": [np.arange(5), collections.defaultdict(list, a=[1]), np.dtype("f4"), torch.float32],
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        "parameter": nn.Parameter(torch.ones(2)),
    }
    options = {"_use_new_zipfile_serialization": zipped, "pickle_protocol": protocol}
    state = collections.OrderedDict({f"module.{key}": value for key, value in WEIGHTS.items()})
    torch.save({**others, "state_dict": state}, tmp_path / "a.pth", **options)
    monkeypatch.delitem(sys.modules, trainer.__name__)
    found = read_checkpoint(tmp_path / "a.pth")
    assert set(found.tensors) == set(WEIGHTS) and set(found.others) == set(others)
    assert all(torch.equal(found.tensors[key], value) for key, value in WEIGHTS.items())
    assert torch.equal(found.others["optimizer"]["state"][0]["momentum_buffer"], torch.ones(3))
    assert isinstance(found.others["best"], Inert) and trainer.__name__ not in sys.modules


def test_every_kind_of_tensor_comes_through(tmp_path):
    base = torch.arange(12.0)
    tensors = {kind: base.to(getattr(torch, kind)) for kind in ("half", "bfloat16", "double", "long", "int8", "bool")}
    tensors |= {"view": base[2:8].view(2, 3), "transposed": base.view(3, 4).t(), "shared": base, "empty": base[:0]}
    tensors |= {"scalar": torch.tensor(3), "parameter": nn.Parameter(base), "gradient": base.clone().requires_grad_()}
    content = {"state_dict": tensors, "args": argparse.Namespace()}
    for zipped in (True, False):
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        found = read_checkpoint(tmp_path / "a.pth").tensors
        for key, value in tensors.items():
            assert found[key].dtype == value.dtype and torch.equal(found[key], value) and not found[key].requires_grad


def test_texts_of_python_2_do_not_matter(tmp_path):
    code_file(tmp_path / "a.pth", b"\x80\x02}U\x04noteU\x03\xe9\xff\x00s.")
    assert list(load_inert(tmp_path / "a.pth")) == ["note"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_damaged_files_are_one_kind_of_error(tmp_path, zipped):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": WEIGHTS, "args": argparse.Namespace(x=1)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    draw = random.Random(0)
    for length in [0, 1, 5, *range(40, len(whole), len(whole) // 12)]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"a\.pth: cannot be read as weights"):
            read_checkpoint(path)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 20)):
            damaged[draw.randrange(len(whole))] = draw.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            read_checkpoint(path)


@pytest.mark.parametrize("code", [
    b"}r" + (2**26).to_bytes(4, "little"),  # the unpickler in C makes room for all memos up to this number
    b"\x96" + (2**29).to_bytes(8, "little") + b"}",  # an array that claims so many bytes
])  # fmt: skip
def test_a_few_bytes_do_not_take_a_gigabyte(tmp_path, code):
    torch.save({"weight": torch.ones(2), "other": argparse.Namespace()}, tmp_path / "old.pth")
    with zipfile.ZipFile(tmp_path / "old.pth") as old, zipfile.ZipFile(tmp_path / "new.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"}q\x00", code, 1))
    tracemalloc.start()
    try:
        with contextlib.suppress(CheckpointError):
            assert "weight" in read_checkpoint(tmp_path / "new.pth").tensors
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_files_without_weights_are_refused(tmp_path):
    for name, content in {"list": [1], "none": None, "epochs": {"epoch": 3}, "object": argparse.Namespace(a=1)}.items():
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(CheckpointError, match=rf"{name}\.pth: has no weights"):
            read_checkpoint(tmp_path / f"{name}.pth")
    (tmp_path / "text.pth").write_text("hello\n")
    with pytest.raises(CheckpointError, match=r"text\.pth: cannot be read as weights"):
        read_checkpoint(tmp_path / "text.pth")
    (tmp_path / "video.pth").write_bytes(b"\0\0\0\x20ftypisom")
    with pytest.raises(CheckpointError, match=r"as weights \(damaged\)"):
        read_checkpoint(tmp_path / "video.pth")
    for absent, why in ((tmp_path, "a folder; give a file"), (tmp_path / "absent.pth", "no such file")):
        with pytest.raises(CheckpointError, match=why):
            read_checkpoint(absent)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize(
    "large", [torch.zeros(1).expand(2**20, 2**20), torch.empty(2**20, 2**20, device="meta")], ids=["repeated", "meta"]
)
def test_a_tensor_that_would_be_larger_than_its_file_is_refused(tmp_path, large, zipped):
    torch.save({"a": torch.ones(2), "b": large}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"a\.pth: b claims more bytes than the file has"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """A megabyte can hold a gigabyte."""
    torch.save({"a": torch.zeros(2**20)}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry))
    assert len(read_checkpoint(tmp_path / "whole.pth").tensors) == 1
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(CheckpointError, match=r"cannot be read as weights \(compressed or damaged"):
        read_checkpoint(tmp_path / "bomb.pth")
