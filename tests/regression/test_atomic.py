from __future__ import annotations

import errno
import os

import pytest

from fixtures.regression.atomic import StoreWriteError, exclusive, write_atomically


def test_text_is_written_and_no_temporary_file_left(tmp_path):
    path = tmp_path / "new" / "file.json"
    write_atomically(path, "{}")
    assert path.read_text(encoding="utf-8") == "{}"
    assert [child.name for child in path.parent.iterdir()] == ["file.json"]


def test_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreWriteError, match=r"file.json could not be written: No space left"):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["file.json"]


def test_folder_that_cannot_be_made_is_an_error(tmp_path):
    # A file in the way, since a superuser writes into read-only folders.
    (tmp_path / "baselines").write_text("", encoding="utf-8")
    with pytest.raises(StoreWriteError, match=r"could not be written: .*make its folder writable"):
        write_atomically(tmp_path / "baselines" / "file.json", "{}")
    with (
        pytest.raises(StoreWriteError, match=r"could not be locked: .*; make it writable"),
        exclusive(tmp_path / "baselines"),
    ):
        pass
