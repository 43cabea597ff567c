"""A model folder at two commits."""

from __future__ import annotations

import subprocess

import pytest

from fixtures.upgrading.revisions import RevisionError, export_revision

IDENTITY = ("-c", "user.name=x", "-c", "user.email=x@example.org")


def git(folder, *words):
    subprocess.run(["git", *IDENTITY, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    """``models/my-model`` of a repository, at two commits tagged old and new."""
    folder = tmp_path / "repository" / "models" / "my-model"
    folder.mkdir(parents=True)

    git(tmp_path / "repository", "init", "-q")
    for tag in ("old", "new"):
        (folder / "config.json").write_text(tag)
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "deep" / "weights").write_bytes(b"\0" + tag.encode())
        git(folder, "add", "-A", ".")
        git(folder, "commit", "-q", "-m", tag)
        git(folder, "tag", tag)
    return folder


def test_both_revisions_are_written_under_the_folders_own_name(repository, tmp_path):
    found = [export_revision(repository, tag, tmp_path / "cache") for tag in ("old", "new")]
    assert [path.name for path in found] == ["my-model", "my-model"]
    assert [(path / "config.json").read_text() for path in found] == ["old", "new"]
    assert (found[0] / "deep" / "weights").read_bytes() == b"\0old"
    assert found[0] != found[1]


def test_revision_is_written_once(repository, tmp_path):
    first = export_revision(repository, "old", tmp_path / "cache")
    (first / "config.json").write_text("mark")
    assert export_revision(repository, "old", tmp_path / "cache") == first
    assert (first / "config.json").read_text() == "mark"


def test_revision_that_is_not_there_is_named(repository, tmp_path):
    with pytest.raises(RevisionError, match=r"there is no nonsense:models/my-model"):
        export_revision(repository, "nonsense", tmp_path / "cache")


def test_folder_outside_git_is_named(tmp_path):
    with pytest.raises(RevisionError, match=r"cannot be read from git: .*not a git repository"):
        export_revision(tmp_path, "main", tmp_path / "cache")


def test_pointer_in_place_of_weights_is_refused(repository, tmp_path):
    (repository / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    git(repository, "add", "-A", ".")
    git(repository, "commit", "-q", "-m", "pointer")
    with pytest.raises(RevisionError, match=r"model.safetensors at HEAD is a pointer; fetch it"):
        export_revision(repository, "HEAD", tmp_path / "cache")
