"""The page of plain PyTorch and the library are one network: the same numbers in, the same logits out."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import torch

import teinet

PAGE = Path(__file__).parents[2] / "examples" / "teinet_minimal.py"
KEYS = (  # the page's names, and the library's
    (r"^cnn\.", ""),
    (r"\.conv1\.0\.", ".conv1.temporal."),
    (r"\.conv1\.1\.", ".conv1."),
    (r"\.theta\.", ".conv1."),
    (r"\.phi\.", ".conv2."),
    (r"\.varphi\.", ".conv3."),
    (r"\.tim\.V$", ".tim.weight"),
)


def library_key(key: str) -> str:
    for ours, theirs in KEYS:
        key = re.sub(ours, theirs, key)
    return key


def test_the_page_is_the_library():
    spec = importlib.util.spec_from_file_location("teinet_minimal", PAGE)
    assert spec is not None and spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)

    torch.manual_seed(0)
    plain, model = page.TEINet(num_classes=400, num_frames=4), teinet.create_model(
        "teinet_resnet50", num_classes=400, num_frames=4
    )  # fmt: skip
    assert sum(p.numel() for p in plain.parameters()) == 30_356_896
    for module in plain.modules():  # a fresh branch ends in a norm of zero, which hides the temporal modules
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1)
        elif isinstance(module, page.MEM):
            torch.nn.init.normal_(module.varphi.weight)
    state = plain.state_dict()
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert {library_key(key) for key in state} == set(shapes)
    model.load_state_dict({library_key(k): v.view(shapes[library_key(k)]) for k, v in state.items()})

    clips = torch.randn(2, 4, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        want, got = plain.double().eval()(clips), model.double().eval()(clips)
        assert (got - want).abs().max() <= 1e-6 * want.abs().max()
        assert (model(clips.flip(1)) - want).abs().max() > 1e-3 * want.abs().max()  # and the order of frames counts


def test_the_page_is_one_page_and_needs_torch_and_timm_alone():
    text = PAGE.read_text()
    assert len(text.splitlines()) < 90
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    assert {name.partition(".")[0] for name in names} == {"torch", "timm"}
