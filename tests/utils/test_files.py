"""Files that are written whole or not at all: through an error, a kill and, as far as can be seen, a power cut."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import zipfile

import pytest

from teinet.utils.files import is_plain_zip, replacing, write_csv


def test_the_new_content_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("old", "new"):
        with replacing(path) as part:
            part.write_text(text)
            assert not path.exists() or path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.fstat(handle).st_ino) or sync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: done.append("replaced") or replace(a, b))
    with replacing(tmp_path / "a.txt") as part:
        part.write_text("x")
    folder = tmp_path.stat().st_ino
    assert done == [(tmp_path / "a.txt").stat().st_ino, "replaced", folder]


def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_disk_names_the_file_that_was_meant(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space") as caught, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "no" / "a.txt") as part:
        part.write_text("x")
    assert caught.value.filename == str(tmp_path / "no" / "a.txt")


def test_a_kill_leaves_the_old_content_and_the_next_writer_tidies_up(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from teinet.utils.files import replacing, write_csv\n"
        "with replacing(sys.argv[1]) as part:\n"
        "    part.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    with replacing(path) as part:
        part.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_several_may_write_a_shared_file_at_once(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path, shared=True) as first:
        first.write_text("half")
        with replacing(path, shared=True) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        first.write_text("first")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_a_csv_whose_rows_end_in_an_error_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, ("a", "b"), [(1, "\udce9")])  # a file's name of other bytes than UTF-8
    assert path.read_bytes() == b"a,b\n1,\xe9\n"
    with pytest.raises(ZeroDivisionError):
        write_csv(path, ("a", "b"), ((1, 1 // n) for n in (1, 0)))
    assert path.read_bytes() == b"a,b\n1,\xe9\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("how", "plain"), [(zipfile.ZIP_STORED, True), (zipfile.ZIP_DEFLATED, False)])
def test_a_zip_that_grows_is_no_plain_one(tmp_path, how, plain):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", how) as archive:
        archive.writestr("a", bytes(10_000))
    assert is_plain_zip(tmp_path / "a.zip") == plain
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[:-10])
    assert not is_plain_zip(tmp_path / "a.zip") and not is_plain_zip(tmp_path / "absent.zip")
