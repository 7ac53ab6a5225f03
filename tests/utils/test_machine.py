"""What a number was measured on."""

from __future__ import annotations

import torch

from teinet.utils.machine import machine, machine_name


def test_the_machine_is_named():
    facts = machine()
    assert facts["cores"] >= 1 and torch.__version__.startswith(facts["versions"]["torch"])
    assert machine_name({"processor": "Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz", "cores": 8}) == (
        "intel-xeon-e5-2690-v4-8-cores"
    )
