"""Caffe's .caffemodel files: against protobuf's own library, and files that are damaged or made to harm."""

from __future__ import annotations

import struct

import pytest
import torch
from torch import Tensor

from teinet.errors import CheckpointError
from teinet.models.caffe import read_caffemodel
from teinet.models.weights import read_checkpoint

Layer = tuple[str, str, list[Tensor]]


def whole(value: int) -> bytes:
    """A whole number, seven bits a byte."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + whole(value >> 7)


def part(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return whole(number << 3 | 2) + whole(len(content)) + content


def blob(tensor: Tensor) -> bytes:
    """A BlobProto: its shape and numbers."""
    return part(7, part(1, b"".join(map(whole, tensor.shape)))) + part(5, tensor.contiguous().numpy().tobytes())


def caffemodel(layers: list[Layer]) -> bytes:
    """A NetParameter of layers (name, type, blobs)."""
    content = part(1, b"net")
    for name, kind, blobs in layers:
        layer = part(1, name.encode()) + part(2, kind.encode()) + b"".join(part(7, blob(each)) for each in blobs)
        content += part(100, layer)
    return content


LAYERS: list[Layer] = [
    ("conv1/7x7", "Convolution", [torch.rand(3, 2, 1, 3, 3), torch.rand(3)]),
    ("relu", "ReLU", []),
    ("conv1_bn", "BN", [torch.rand(1, 3) for _ in range(4)]),
    ("fc8", "InnerProduct", [torch.rand(300, 3), torch.rand(300)]),
    ("prelu", "PReLU", [torch.rand(3)]),
]
KEYS = {
    "conv1/7x7.weight": (0, 0), "conv1/7x7.bias": (0, 1), "conv1_bn.weight": (2, 0), "conv1_bn.bias": (2, 1),
    "conv1_bn.running_mean": (2, 2), "conv1_bn.running_var": (2, 3), "fc8.weight": (3, 0), "fc8.bias": (3, 1),
    "prelu.0": (4, 0),
}  # fmt: skip


def check(found: dict[str, Tensor]) -> None:
    assert set(found) == set(KEYS)
    for key, (layer, place) in KEYS.items():
        want = LAYERS[layer][2][place]
        assert torch.equal(found[key], want.flatten() if layer == 2 else want), key


def test_weights_have_their_layers_names(tmp_path):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(caffemodel(LAYERS))
    check(read_caffemodel(path))
    check(read_checkpoint(path).tensors)


@pytest.mark.parametrize("older", [False, True])
def test_files_of_protobufs_own_library(tmp_path, older):
    """Other fields are between ours; older files have four sizes in place of a shape."""
    pool = pytest.importorskip("google.protobuf.descriptor_pool").DescriptorPool()
    pb = pytest.importorskip("google.protobuf.descriptor_pb2")
    factory = pytest.importorskip("google.protobuf.message_factory")
    file = pb.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    kinds = {"int": 3, "float": 2, "text": 9, "bool": 8, "double": 1}
    for title, fields in {
        "Shape": {"dim": (1, "int", "packed")},
        "Blob": {
            "num": (1, "int"), "channels": (2, "int"), "height": (3, "int"), "width": (4, "int"),
            "data": (5, "float", "packed"), "diff": (6, "float", "packed"), "shape": (7, "Shape"),
        },
        "Layer": {
            "name": (1, "text"), "type": (2, "text"), "blobs": (7, "Blob", "many"), "loss": (5, "float", "many"),
            "phase": (10, "int"), "extra": (150, "double"),
        },
        "Net": {"name": (1, "text"), "force": (5, "bool"), "layer": (100, "Layer", "many")},
    }.items():  # fmt: skip
        message = file.message_type.add(name=title)
        for name, (number, kind, *many) in fields.items():
            own = {"type": kinds[kind]} if kind in kinds else {"type": 11, "type_name": f".caffe.{kind}"}
            field = message.field.add(name=name, number=number, label=3 if many else 1, **own)
            field.options.packed = many == ["packed"]
    pool.Add(file)
    net = factory.GetMessageClass(pool.FindMessageTypeByName("caffe.Net"))(name="net", force=True)
    for name, kind, blobs in LAYERS:
        layer = net.layer.add(name=name, type=kind, loss=[1.0], phase=1, extra=0.5)
        for tensor in blobs:
            each = layer.blobs.add(data=tensor.flatten().tolist(), diff=[0.0])
            if older and tensor.dim() < 5:
                sizes = (1,) * (4 - tensor.dim()) + tuple(tensor.shape)
                each.num, each.channels, each.height, each.width = sizes
            else:
                each.shape.dim.extend(tensor.shape)
    path = tmp_path / "a.caffemodel"
    path.write_bytes(net.SerializeToString())
    found = read_caffemodel(path)
    check({key: value.flatten() if key == "prelu.0" else value for key, value in found.items()})


def test_a_file_that_is_cut_off_is_refused_at_every_byte(tmp_path):
    content = caffemodel(LAYERS[:1])
    path = tmp_path / "a.caffemodel"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cannot be read as weights|has no weights") as error:
            read_checkpoint(path)
        assert "\n" not in str(error.value)


one = part(7, part(5, struct.pack("<f", 1)) + part(7, part(1, b"\1")))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (whole(100 << 3 | 2) + whole(1 << 62), "cut off"),
        (b"\xff" * 64, "no message of protobuf"),
        (whole(100 << 3 | 3), "no message of protobuf"),  # a group
        (part(100, part(7, whole(5 << 3 | 2) + whole(1 << 40))), "cut off"),
        (part(100, part(7, part(7, part(1, whole(1 << 40) * 2)) + part(5, bytes(4)))), "another shape"),
        (part(100, part(7, part(7, part(1, whole(0) + whole(1 << 63))))), "another shape"),
        (part(100, part(7, part(7, part(1, b"\1" * 5000)) + part(5, bytes(4)))), "another shape"),
        (part(100, part(7, part(5, bytes(3)))), "another shape"),
        (part(100, part(1, b"a") + one) * 2, "two layers with the name a"),
        (part(100, b"") * 20_000, "more than 10000 fields"),
        (part(2, part(4, b"conv1")), "upgrade_net_proto_binary"),
        (part(100, part(1, b"relu")), "has no weights"),
        (whole(100 << 3) + whole(5), "has no weights"),
        (b"<html>not found</html>", "cannot be read as weights"),
    ],
)
def test_damaged_and_hostile_files_get_one_line(tmp_path, content, says):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=says) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
