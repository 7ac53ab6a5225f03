"""The journal of long work: what was recorded comes back, whatever ended the command."""

import pytest

from teinet.errors import ConfigError
from teinet.utils.journal import Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.jsonl"


def record(path, *records, settings=None, keep=()):
    journal = Journal(path, "data x", settings)
    journal.start(keep)
    for each in records:
        journal.add(each)
    journal.close()


def test_what_was_recorded_comes_back_before_and_after_the_end(path):
    assert Journal(path, "data x").read() == []
    record(path, {"key": "a\udcff"}, {"key": "b", "bytes": 3})
    assert Journal(path, "data x").read() == [{"key": "a\udcff"}, {"key": "b", "bytes": 3}]
    record(path, {"key": "c"}, keep=[{"key": "b"}])
    assert [each["key"] for each in Journal(path, "data x").read()] == ["b", "c"]


def test_each_record_is_on_disk_at_once_and_a_torn_last_line_is_left_out(path):
    journal = Journal(path, "data x")
    journal.start()
    journal.add({"key": "a"})
    journal.add({"key": "b"})
    assert len(Journal(path, "data x").read()) == 2
    journal.close()
    path.write_bytes(path.read_bytes()[:-4])
    assert Journal(path, "data x").read() == [{"key": "a"}]


def test_a_file_of_somebody_else_or_of_other_settings_is_refused(path):
    record(path, settings={"short_side": 256})
    with pytest.raises(ConfigError, match="started with --short-side 256"):
        Journal(path, "data x", {"short_side": 128}).read()
    with pytest.raises(ConfigError, match="not written by `teinet data y`"):
        Journal(path, "data y").read()
    for content in ("", "path,label\n", "[1]\n", "17\n"):
        path.write_text(content)
        with pytest.raises(ConfigError, match="not written by"):
            Journal(path, "data x").read()
