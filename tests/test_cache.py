import os
from pathlib import Path

import pytest

from matkit import cache
from matkit.cache import cache_folder, is_private
from matkit.runs.atomic import write_atomically


@pytest.fixture(autouse=True)
def every_warning(monkeypatch):
    cache._warn.cache_clear()
    for name in ("MATKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["MATKIT_CACHE", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("value", ["", ".", "cache", "../cache"])
def test_the_working_directory_is_never_the_cache(name, value, monkeypatch, caplog):
    monkeypatch.setenv(name, value)
    assert cache_folder() == Path("~/.cache/matkit").expanduser()
    assert ("no absolute path" in caplog.text) == bool(value)


def test_absolute_settings_count(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "matkit"
    monkeypatch.setenv("MATKIT_CACHE", "~/mine")
    assert cache_folder() == Path("~/mine").expanduser()


def test_no_home_directory_is_no_cache(monkeypatch, caplog):
    def homeless(path):
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert cache_folder() is None
    assert "no home directory" in caplog.text


@pytest.mark.parametrize("mode", [0o775, 0o777, 0o757])
def test_what_others_can_write_is_not_private(tmp_path, mode, caplog):
    tmp_path.chmod(mode)
    assert not is_private(tmp_path)
    assert "chmod go-w" in caplog.text
    tmp_path.chmod(0o755)
    assert is_private(tmp_path)


def test_what_another_user_owns_is_not_private(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not is_private(tmp_path)


def test_permissions_of_files_follow_the_mask(tmp_path):
    before = os.umask(0o002)
    try:
        assert write_atomically(tmp_path / "a", b"").stat().st_mode & 0o777 == 0o664
        assert write_atomically(tmp_path / "b", b"", mode=0o644).stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)
