import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from matkit.data import download as module
from matkit.data.download import PublishedSet, download, find_set, git_checksum, published_sets
from matkit.errors import DataError, OutputExistsError, UnknownNameError

CONTENT = {"train.csv": bytes(range(256)) * 40, "val.csv": b"material_id,cif\n"}


def checksum(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Server(HTTPServer):
    """A file server of the local machine that can break off and that counts what it sends."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(CONTENT)
        self.breaks_after = None
        self.knows_ranges = True
        self.requests = []

    def published(self):
        files = {name: checksum(content) for name, content in CONTENT.items()}
        url = f"http://127.0.0.1:{self.server_port}/data"
        return PublishedSet("two tables", url, files, "CC0", "nobody")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/data/")
        asked = self.headers.get("Range")
        self.server.requests.append((name, asked))
        if name not in self.server.files:
            self.send_error(404)
            return
        content, first = self.server.files[name], 0
        if asked and self.server.knows_ranges:
            first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if first >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : self.server.breaks_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1000)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_all_files_and_where_they_come_from(server, tmp_path):
    seen = []
    paths = download(
        server.published(), tmp_path / "new", on_progress=lambda *state: seen.append(state)
    )
    assert {name: path.read_bytes() for name, path in paths.items()} == CONTENT
    assert seen[0] == ("train.csv", 1000, 10240)
    assert seen[-1] == ("val.csv", 16, 16)
    source = yaml.safe_load((tmp_path / "new/SOURCE.yaml").read_text())
    assert source["licence"] == "CC0"
    assert source["sha256"]["val.csv"] == hashlib.sha256(CONTENT["val.csv"]).hexdigest()
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    download(server.published(), tmp_path)
    server.requests.clear()
    download(server.published(), tmp_path)
    assert not server.requests


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_connection_is_resumed(server, tmp_path, knows_ranges):
    server.breaks_after, server.knows_ranges = 5500, knows_ranges
    with pytest.raises(DataError, match=r"ended after 5,500 of 10,240 bytes.*5,500 bytes are kept"):
        download(server.published(), tmp_path)
    assert not (tmp_path / "train.csv").exists()
    server.breaks_after = None
    paths = download(server.published(), tmp_path)
    assert ("train.csv", "bytes=5500-") in server.requests
    assert paths["train.csv"].read_bytes() == CONTENT["train.csv"]


def test_a_whole_part_is_kept(server, tmp_path):
    (tmp_path / "train.csv.part").write_bytes(CONTENT["train.csv"])
    download(server.published(), tmp_path)
    assert git_checksum(tmp_path / "train.csv") == checksum(CONTENT["train.csv"])


def test_another_content_is_refused_and_removed(server, tmp_path):
    server.files["val.csv"] = b"<html>Please log in</html>"
    with pytest.raises(DataError, match=r"val.csv is not the published file.*26 bytes"):
        download(server.published(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.csv"]


def test_a_file_of_ones_own_is_not_replaced_by_accident(server, tmp_path):
    (tmp_path / "val.csv").write_text("mine")
    with pytest.raises(OutputExistsError, match="val.csv is there and is not"):
        download(server.published(), tmp_path)
    assert (tmp_path / "val.csv").read_text() == "mine"
    assert download(server.published(), tmp_path, overwrite=True)
    assert (tmp_path / "val.csv").read_bytes() == CONTENT["val.csv"]


def test_a_file_that_is_not_there(server, tmp_path):
    del server.files["val.csv"]
    with pytest.raises(DataError, match=r"Cannot fetch .*val.csv: HTTP Error 404.*--url"):
        download(server.published(), tmp_path)


def test_no_server(server, tmp_path):
    published = PublishedSet("", "http://127.0.0.1:9/data", {"a": "0"}, "", "")
    with pytest.raises(DataError, match="Cannot fetch http://127.0.0.1:9/data/a"):
        download(published, tmp_path)


def test_unknown_set():
    with pytest.raises(UnknownNameError, match="Unknown data set 'perov5'. Did you mean 'perov-5'"):
        find_set("perov5")


@pytest.mark.parametrize("name", ["perov-5", "carbon-24", "mp-20"])
def test_published_sets_say_everything(name):
    one = published_sets()[name]
    assert one.url.startswith("https://")
    assert list(one.files) == ["train.csv", "val.csv", "test.csv"]
    assert all(re.fullmatch("[0-9a-f]{40}", value) for value in one.files.values())
    assert one.licence
    assert one.citation


def test_the_checksum_is_gits(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello world\n")
    assert git_checksum(path) == "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"  # git hash-object
