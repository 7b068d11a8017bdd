import json
import re

import pytest

from matkit.cli import downloads
from matkit.data.download import published_sets
from tests.data.test_download import CONTENT, server

__all__ = ["server"]  # a fixture


@pytest.fixture
def published(server, monkeypatch):
    sets = {"mp-20": server.published()}
    monkeypatch.setattr(downloads, "find_set", sets.__getitem__)
    return server


def test_a_set_comes_with_its_licence(cli, published, tmp_path):
    result = cli("data", "download", "mp-20")
    assert "train.csv: 10,240 bytes, as published" in result.output
    assert "Licence: CC0" in result.output
    assert (tmp_path / "mp-20/val.csv").read_bytes() == CONTENT["val.csv"]
    document = json.loads(cli("data", "download", "mp-20", "--out", "b", "--json").stdout)
    assert document["files"]["val.csv"] == "b/val.csv"


def test_a_mirror(cli, published, tmp_path):
    mirror = published.published().url + "/"
    cli("data", "download", "--set", "mp-20", "--url", mirror, "--out", "c")
    assert (tmp_path / "c/train.csv").exists()
    missing = mirror + "nothing"
    result = cli("data", "download", "mp-20", "--url", missing, "--out", "d", code=2)
    assert "404" in result.output


def test_no_name_lists_the_sets(cli):
    result = cli("data", "download", code=2)
    assert set(published_sets()) <= set(re.findall(r"[a-z]+-?\d+", result.output))
    assert "one after another" in cli("data", "download", "a", "b", code=2).output
