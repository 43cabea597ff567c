from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest
from pytest_benchmark.logger import Logger
from pytest_benchmark.storage.file import FileStorage

from fixtures.plugins.storage import SAVED, AtomicStorage, unsaved

DOCUMENT = {"benchmarks": [{"stats": {"data": [0.1] * 1000}}]}


@pytest.fixture
def config():
    return SimpleNamespace(stash=pytest.Stash())


@pytest.fixture
def storage(tmp_path, config):
    plain = FileStorage(str(tmp_path / "baselines"), Logger(level=0), default_machine_id="here")
    return AtomicStorage(plain, config)


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "baselines").rglob("*") if path.is_file())


def test_runs_are_numbered_in_order(storage, config, tmp_path):
    storage.save(DOCUMENT, "first")
    storage.save(DOCUMENT, "second")
    assert names(tmp_path) == ["0001_first.json", "0002_second.json"]
    assert config.stash[SAVED] == tmp_path / "baselines/here/0002_second.json"
    assert unsaved(config) == []


def test_run_never_replaces_one_that_was_saved_in_the_meantime(storage, tmp_path, monkeypatch):
    storage.save(DOCUMENT, "run")
    # Both processes saw the same number free; the second one looks again.
    numbers = iter(["0001", "0002"])
    monkeypatch.setattr(AtomicStorage, "_next_num", property(lambda self: next(numbers)))
    storage.save({"benchmarks": []}, "run")
    assert names(tmp_path) == ["0001_run.json", "0002_run.json"]
    assert len((tmp_path / "baselines/here/0001_run.json").read_text()) > 1000


@pytest.mark.parametrize("failing", ["fsync", "link"])
def test_full_disk_leaves_no_file_and_one_sentence(storage, config, tmp_path, monkeypatch, failing):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, fail)
    storage.save(DOCUMENT, "run")
    assert names(tmp_path) == []
    assert unsaved(config) == [
        f"this run was not saved in {tmp_path / 'baselines/here'}: No space left on device"
    ]
    assert SAVED not in config.stash


def test_read_only_disk_is_one_sentence(storage, config, tmp_path):
    # Root may write anywhere, so a file stands where the folder should be.
    (tmp_path / "baselines").rmdir()
    (tmp_path / "baselines").touch()
    storage.save(DOCUMENT, "run")
    (sentence,) = unsaved(config)
    assert sentence.endswith("baselines/here: Not a directory")
