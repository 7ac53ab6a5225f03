"""Which forms of the kernels this machine can run."""

from __future__ import annotations

import pytest

from teinet.kernels import available_forms, use_form


@pytest.fixture(params=["reference", "cpu"])
def form(request) -> str:
    """Each form in turn, switched on; those that this machine cannot run are skipped."""
    if request.param not in available_forms():
        pytest.skip(f"the {request.param} form cannot run here")
    with use_form(request.param):
        yield request.param
