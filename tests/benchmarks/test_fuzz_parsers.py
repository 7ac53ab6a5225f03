"""Our own parsers raise TeinetError alone, whatever bytes they get."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_parsers import PARSERS, parse, seeds
from benchmarks.mutators import mutated_bytes


@pytest.fixture(scope="module", params=PARSERS)
def parser(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder / "input", seeds(request.param, folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), number=st.integers(0, 2**32))
def test_a_parser_refuses_in_words_what_it_cannot_read(parser, data, number):
    name, path, whole = parser
    rng = random.Random(number)
    parse(name, path, data)
    parse(name, path, mutated_bytes(rng, rng.choice(whole), whole)[0])


def test_another_error_is_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(PARSERS, "lists", lambda path, data: data[0])
    with pytest.raises(IndexError):
        parse("lists", tmp_path / "x", b"")
