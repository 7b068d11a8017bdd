import os

import pytest

from matkit.runs.replacing import OldResults


@pytest.fixture
def paths(tmp_path):
    for name in ("model", "log"):
        (tmp_path / name).write_text(f"old {name}")
    return [tmp_path / "model", tmp_path / "log", tmp_path / "never"]


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


OLD = {"model": "old model", "log": "old log"}


def test_old_results_come_back_if_there_are_no_new_ones(tmp_path, paths):
    old = OldResults(tmp_path)
    old.set_aside(paths)
    assert contents(tmp_path) == {}
    paths[2].write_text("half of a new one")
    old.restore(paths)
    assert contents(tmp_path) == OLD
    assert not old.there


def test_old_results_go_when_there_are_new_ones(tmp_path, paths):
    old = OldResults(tmp_path)
    old.set_aside(paths)
    paths[0].write_text("new")
    old.discard()
    old.restore(paths)
    assert contents(tmp_path) == {"model": "new"}


def test_a_move_that_fails_is_taken_back(tmp_path, paths, monkeypatch):
    replace = os.replace

    def fail(source, target):
        if source.name == "log" and "moving" in str(target):
            raise OSError("disk")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk"):
        OldResults(tmp_path).set_aside(paths)
    assert contents(tmp_path) == OLD


@pytest.mark.parametrize("moved", [["model"], ["log"], ["model", "log"]])
def test_a_process_that_ended_while_moving_loses_nothing(tmp_path, paths, moved):
    (tmp_path / ".run.moving").mkdir()
    for name in moved:
        os.replace(tmp_path / name, tmp_path / ".run.moving" / name)
    assert not OldResults(tmp_path).there
    assert contents(tmp_path) == OLD


def test_links_are_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("precious")
    link = tmp_path / "model"
    link.symlink_to("precious")
    old = OldResults(tmp_path)
    old.set_aside([link])
    assert not link.is_symlink()
    old.restore([link])
    assert link.is_symlink()
    assert link.read_text() == "precious"
