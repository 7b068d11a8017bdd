"""Files of structures in a zip archive, unpacked one after another and never by their names."""

from __future__ import annotations

import io
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from matkit.data.folders import is_structure, natural
from matkit.data.opening import OPENERS
from matkit.errors import DataError

# What an archive may hold. Structures as text shrink to a tenth or a hundredth, bombs to less.
MOST_MEMBERS = 200_000
LARGEST_MEMBER = 1 << 30
LARGEST_TOTAL = 16 << 30
LARGEST_RATIO, RATIO_COUNTS_FROM = 200, 16 << 20
CHUNK = 1 << 20


def members(path: Path) -> Iterator[tuple[str, Path | str]]:
    """Give the files of structures in an archive, or why one cannot be had.

    Every file is there until the next is asked for, in a folder for it alone.

    Raises:
        DataError: the archive is damaged, or holds more than any set of structures.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged directory raises anything
        raise DataError(f"Cannot read the archive {path}: {error}") from error
    with archive, tempfile.TemporaryDirectory() as folder:
        infos = archive.infolist()
        total = sum(info.file_size for info in infos)
        if len(infos) > MOST_MEMBERS or total > LARGEST_TOTAL:
            raise DataError(
                f"Expected at most {MOST_MEMBERS} files of {LARGEST_TOTAL >> 30} GiB in all in the "
                f"archive {path}, got {len(infos)} of {total / 2**30:.1f} GiB. Unpack it, and name "
                "the folder."
            )
        for info in sorted(infos, key=lambda info: natural(info.filename)):
            source = f"{path}:{_printable(info)}"
            try:
                reason = _objection(archive, info)
                if reason is None:
                    continue
                yield source, reason or _unpacked(archive, info, Path(folder))
            except DataError as error:
                yield source, str(error)


def _printable(info: zipfile.ZipInfo) -> str:
    """Return the name in the archive, on one line; it may hold anything, even a null byte."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in info.orig_filename)


def _objection(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str | None:
    """Return why a member is not read, empty if it is; None if it is none of structures."""
    name = PurePosixPath(_printable(info).replace("\\", "/"))
    if info.filename.endswith("/"):
        return None
    if name.suffix.lower() == ".zip":
        return "an archive in the archive is not opened; unpack it"
    if not is_structure(name, lambda: _first_line(archive, info)):
        return None
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a link to another file"
    if info.flag_bits & 1:
        return "it is encrypted; unpack the archive with its password"
    ratio = info.file_size / max(info.compress_size, 1)
    if info.file_size > LARGEST_MEMBER or (
        info.file_size > RATIO_COUNTS_FROM and ratio > LARGEST_RATIO
    ):
        return (
            f"it grows from {info.compress_size / 2**20:.1f} to {info.file_size / 2**20:.0f} MiB "
            "when it is unpacked; unpack it yourself if that is right"
        )
    return ""


def _first_line(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    with archive.open(info) as stream:
        opener = OPENERS.get(PurePosixPath(info.filename).suffix.lower())
        unpacked = opener(stream) if opener else stream
        return io.TextIOWrapper(unpacked, encoding="utf-8-sig").readline(CHUNK)


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> Path:
    """Unpack a member to a name of our own; its endings, and POSCAR, say the format.

    Raises:
        DataError: it is damaged.
    """
    name = PurePosixPath(_printable(info).replace("\\", "/"))
    endings = "".join(name.suffixes[-2:]) if name.suffix.lower() in OPENERS else name.suffix
    file = folder / (f"member{endings}" if name.suffix else name.name)
    for old in folder.iterdir():
        old.unlink()
    try:
        # The directory may say less than comes, but zipfile gives no more than it says.
        with archive.open(info) as stream, file.open("wb") as out:
            while chunk := stream.read(CHUNK):
                out.write(chunk)
    except Exception as error:  # each kind of compression has errors of its own
        raise DataError(f"it is damaged: {error or type(error).__name__}") from error
    return file
