"""Published data sets: fetched, resumed where the connection broke, and verified."""

from __future__ import annotations

import hashlib
import importlib.resources
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import yaml

from matkit.errors import DataError, OutputExistsError, UnknownNameError, did_you_mean
from matkit.runs.atomic import write_atomically

# What is read at a time, bytes, and how long a silent server is waited for, seconds.
CHUNK, PATIENCE = 1 << 18, 60.0
SOURCE = "SOURCE.yaml"

# Called with the name of a file, the bytes that are there and, if known, those of the whole.
OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class PublishedSet:
    """Where a data set is published.

    Attributes:
        description: What it is, in a line.
        url: Address of the folder of its files.
        files: Git's SHA-1 of each file.
        licence: Under which licence.
        citation: What to cite.
    """

    description: str
    url: str
    files: Mapping[str, str]
    licence: str
    citation: str


def published_sets() -> dict[str, PublishedSet]:
    """Return the data sets that can be downloaded, by name."""
    folder = Path(str(importlib.resources.files("matkit"))) / "configs" / "data"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))}
    return {name: PublishedSet(**yaml.safe_load(text)) for name, text in texts.items()}


def find_set(name: str) -> PublishedSet:
    """Return the data set called `name`.

    Raises:
        UnknownNameError: there is none.
    """
    sets = published_sets()
    if name not in sets:
        raise UnknownNameError(f"Unknown data set {name!r}.{did_you_mean(name, sets)}")
    return sets[name]


def download(
    source: PublishedSet,
    folder: Path,
    overwrite: bool = False,
    on_progress: OnProgress = lambda name, done, total: None,
) -> dict[str, Path]:
    """Fetch the files of a data set; what is there and intact is not fetched again.

    ``SOURCE.yaml`` beside them says where they come from, with licence and checksums.

    Args:
        source: The data set.
        folder: Where to.
        overwrite: Replace other files of the same names.
        on_progress: Told how far a file is.

    Returns:
        Path of each file.

    Raises:
        OutputExistsError: there is another file of that name.
        DataError: the server cannot be reached, the connection broke, or a file is not the
            published one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name for name in source.files}
    for name, path in paths.items():
        if path.exists() and git_checksum(path) == source.files[name]:
            continue
        if path.exists() and not overwrite:
            raise OutputExistsError(
                f"{path} is there and is not the published file. Choose another folder (--out), or "
                "--overwrite it."
            )
        _fetch_file(f"{source.url}/{name}", path, source.files[name], on_progress)
    _write_source(source, folder, paths)
    return paths


def git_checksum(path: Path) -> str:
    """Return the SHA-1 under which git keeps the content of a file."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch_file(url: str, path: Path, checksum: str, on_progress: OnProgress) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        _receive(url, part, lambda done, total: on_progress(path.name, done, total))
    except (OSError, HTTPException) as error:  # all errors of urllib are of the first kind
        held = part.stat().st_size if part.exists() else 0
        raise DataError(
            f"Cannot fetch {url}: {error}. {held:,} bytes are kept; the same command goes on from "
            "there. Without a connection, take the files from elsewhere: --url ADDRESS."
        ) from error
    if (found := git_checksum(part)) != checksum:
        size = part.stat().st_size
        part.unlink()
        raise DataError(
            f"{url} is not the published file: expected the git checksum {checksum}, got {found} "
            f"({size:,} bytes). It was removed; try again, or another --url."
        )
    part.replace(path)


def _receive(url: str, part: Path, on_progress: Callable[[int, int | None], None]) -> None:
    """Add to `part` what is missing of it."""
    held = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={held}-"} if held else {})
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code == 416 and held:  # nothing is missing
            return
        raise
    with response:
        goes_on = response.status == 206
        done = held if goes_on else 0
        total = None if response.length is None else done + response.length
        with part.open("ab" if goes_on else "wb") as stream:
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                done += len(chunk)
                on_progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _write_source(source: PublishedSet, folder: Path, paths: Mapping[str, Path]) -> None:
    sums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    content = {
        "description": source.description,
        "url": source.url,
        "licence": source.licence,
        "citation": source.citation,
        "git": dict(source.files),
        "sha256": sums,
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomically(folder / SOURCE, text.encode())
