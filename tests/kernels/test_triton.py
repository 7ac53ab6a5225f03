"""The Triton form without a GPU (its numbers in Triton's interpreter, its code from Triton's compiler), and on one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from teinet.kernels import use_form
from tests.kernels import triton_check

triton = pytest.importorskip("triton")

ROOT = Path(__file__).parents[2]
SMALL = ("weight", "gate", "sums", "means", "pooled", "hidden", "scale")  # always float32
COUNTS = ("frames", "pixels", "channels", "length", "pairs", "squeezed")


def test_interpreted_it_gives_the_numbers_of_float64():
    places = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": places}
    command = [sys.executable, "-m", "tests.kernels.triton_check"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300)
    if "only 0-dimensional arrays can be converted" in done.stderr:  # from numpy 2.4 on, in older Triton's own code
        pytest.skip("this Triton's interpreter does not run with this numpy")
    assert done.stdout.strip() == "all equal", done.stderr[-2000:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_it_gives_the_numbers_of_float64():
    with use_form("triton"):
        triton_check.numbers("cuda")
        triton_check.gates("cuda")
    allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        triton_check.network("cuda")
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed


@pytest.mark.parametrize(("dtype", "ones"), [("fp32", ()), ("fp16", ("pixels",)), ("bf16", COUNTS[:3])], ids=str)
@pytest.mark.parametrize("kernel", ["_forward", "_backward", "_pool", "_hidden", "_scale"])
def test_it_compiles_for_a_gpu_that_is_not_here(kernel, dtype, ones, tmp_path, monkeypatch):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from teinet.kernels import triton_kernels as kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(kernels, kernel)
    forms = ((True, True, 0), (False, True, 0), (True, False, 1)) if "HAS_WEIGHT" in function.arg_names else [(1, 1, 0)]
    for weight, gate, lag in forms:
        constants = {
            "HAS_WEIGHT": weight, "HAS_GATE": gate, "LAG": lag, "WANTS_X": True, "WANTS_SUMS": True, "CAUSAL": True,
            "FRAMES": 8, "ROWS": 16, "LANES": 64, "TILES": 8, "PAIRS": 16, "PRODUCTS": 64,
            **dict.fromkeys((name for name in ones if kernel in ("_forward", "_backward", "_pool")), 1),
        }  # fmt: skip
        signature = {}
        for name in function.arg_names:
            if name in constants:  # Triton makes an argument that is 1 a constant
                signature[name] = "constexpr"
            elif name in COUNTS:
                signature[name] = "i32"
            elif name == "offset":
                signature[name] = "fp32"
            else:
                signature[name] = "*fp32" if name in SMALL else f"*{dtype}"
        places = {(function.arg_names.index(name),): value for name, value in constants.items() if name in signature}
        source = ASTSource(fn=function, signature=signature, constexprs=places)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        assert compiled.asm["cubin"]
        if kernel == "_backward":  # what is carried from block to block is no constant, as where names begin as one
            carried = re.findall(r"scf.for .*iter_args\((.*?)\)", compiled.asm["ttir"])
            assert len({each.split(" = ")[0] for each in carried[0].split(", ")}) == 3
