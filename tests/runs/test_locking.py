import subprocess
import sys

import pytest

from matkit.errors import ConfigError
from matkit.runs import locking
from matkit.runs.locking import Lock, alone

HOLD = """
import sys
from matkit.runs.locking import alone
with alone(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_two_runs_in_one_folder_do_not_mix(tmp_path):
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, **pipes, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match="another run is writing to"), alone(tmp_path):
            pass
        other.kill()
    with alone(tmp_path):  # the system has opened it
        pass


def test_a_lock_leaves_nothing_behind(tmp_path):
    with alone(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / ".matkit.lock").exists()
    assert not list(tmp_path.iterdir())


def test_folders_with_results_stay(tmp_path):
    with alone(tmp_path / "a"):
        (tmp_path / "a" / "result").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]


def test_a_lock_that_was_just_removed_is_no_lock(tmp_path, monkeypatch):
    path, opened = tmp_path / "lock", []

    def first_is_gone(stream, path):
        opened.append(stream)
        return len(opened) > 1

    monkeypatch.setattr(locking, "_is_at", first_is_gone)
    Lock(path).close()
    assert [stream.closed for stream in opened] == [True, True]


def test_a_file_system_without_locks(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(locking.fcntl, "flock", refuse)
    with alone(tmp_path):
        pass
    assert "start no second run" in caplog.text
