"""Exported networks in a process: what their runtimes leave behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

ONE_AFTER_THE_OTHER = """
import ctypes, sys
import numpy as np
import openvino
from openvino import opset13 as ops
from teinet.models.exported import _OpenVino, computes_bf16

class Stack(ctypes.Structure):
    _fields_ = [("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

clips = ops.parameter([-1, 2], np.float32)
openvino.save_model(openvino.Model([ops.relu(clips)], [clips], "network"), "network.xml")
networks = [_OpenVino("network.xml", "fp32") for _ in range(3)]
assert [network([np.array([[-1, 2]], np.float32)])[0].tolist() for network in networks] == [[[0, 2]]] * 3
while networks:
    del networks[0]  # in the order in which they were made
computes_bf16()
stack = Stack()
assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
bounds = [line.split()[0].split("-") for line in open("/proc/self/maps")]
print(stack.place is None or any(int(low, 16) <= stack.place < int(high, 16) for low, high in bounds))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_signals_are_handled_on_memory_of_their_own_after_networks_are_deleted(tmp_path):
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", ONE_AFTER_THE_OTHER], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr
