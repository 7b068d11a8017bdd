"""Data sets as folders of arrays that are mapped into memory, for more than memory holds.

A folder has one ``.npy`` file per column and ``manifest.json``. It gets its name only when it is
complete, so an interrupted conversion leaves nothing that could be taken for a data set.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from matkit.data.collecting import COLUMNS, Collector, Column, Names
from matkit.data.findings import Finding
from matkit.data.labels import LABELS, LabelCount, LabelKeys, LabelReport
from matkit.errors import DataError, OutputExistsError
from matkit.runs.atomic import write_atomically

if TYPE_CHECKING:
    from ase import Atoms

MANIFEST = "manifest.json"
FORMAT = "matkit data set"
VERSION = 1
# Bytes a column collects before it writes.
BUFFER = 1 << 20

Located = tuple["Atoms", str, int]


class Folder:
    """Columns as growing ``.npy`` files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, _GrowingArray] = {}

    def append(self, name: str, rows: Column) -> None:
        """Add rows to a column."""
        if name not in self._files:
            self._files[name] = _GrowingArray(self.path / f"{name}.npy", rows)
        self._files[name].append(rows)

    def close(self) -> None:
        """Finish all files."""
        for file in self._files.values():
            file.close()

    def keep(self, columns: dict[str, str]) -> None:
        """Give columns their final names and remove those that are not chosen."""
        for name in self._files.keys() - columns.values() - COLUMNS.keys():
            (self.path / f"{name}.npy").unlink()
        for final, name in columns.items():
            (self.path / f"{name}.npy").rename(self.path / f"{final}.npy")


class _GrowingArray:
    """An ``.npy`` file; numpy leaves room in the header for the final number of rows."""

    def __init__(self, path: Path, like: Column) -> None:
        self._path, self._dtype, self._tail, self._rows = path, like.dtype, like.shape[1:], 0
        self._parts: list[bytes] = [self._header()]
        self._held = 0

    def append(self, rows: Column) -> None:
        self._rows += len(rows)
        self._parts.append(rows.tobytes())
        self._held += rows.nbytes
        if self._held > BUFFER:
            self._flush()

    def close(self) -> None:
        self._flush()
        with self._path.open("r+b") as stream:
            stream.write(self._header())
            stream.flush()
            os.fsync(stream.fileno())

    def _flush(self) -> None:
        # Opened each time: there may be more columns than open files are allowed.
        with self._path.open("ab") as stream:
            stream.write(b"".join(self._parts))
        self._parts, self._held = [], 0

    def _header(self) -> bytes:
        stream, shape = io.BytesIO(), (self._rows, *self._tail)
        described = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": described, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        return stream.getvalue()


def convert(
    atoms: Iterable[Located], out: str | Path, keys: LabelKeys, overwrite: bool = False
) -> LabelReport:
    """Write structures to a folder, one after another.

    Args:
        atoms: Structures with the file and place in the file where each comes from.
        out: Folder; made anew.
        keys: Where labels are looked for.
        overwrite: Whether to replace a data set that is there.

    Returns:
        Which labels were found.

    Raises:
        OutputExistsError: `out` is there and may not be replaced, or is no data set.
        DataError: as `matkit.data.dataset.read_dataset`.
    """
    out = Path(out)
    if out.exists() and not (overwrite and is_folder(out)):
        raise OutputExistsError(
            f"Expected to make a new folder, but there already is {out}. Choose another name, or "
            "allow to overwrite (only a data set is ever replaced)."
        )
    with _complete_or_nothing(out) as part:
        folder = Folder(part)
        collector = Collector(folder, keys)
        for one, file, index in atoms:
            collector.add(one, file, index)
        chosen, names, found = collector.finish()
        folder.close()
        folder.keep({final: name for final, name in chosen.items() if name is not None})
        _write_manifest(part, names, found)
    return found


def is_folder(path: str | Path) -> bool:
    """Whether `path` is a data set written by `convert`."""
    return (Path(path) / MANIFEST).is_file()


def load_folder(path: str | Path) -> tuple[dict[str, Column], Names, LabelReport]:
    """Map a folder into memory.

    Raises:
        DataError: the folder is damaged, or from a newer matkit.
    """
    manifest = _read_manifest(Path(path))
    columns = {}
    for name, (dtype, shape) in manifest["arrays"].items():
        # Copy on write: changes stay in memory, and torch takes it without a warning.
        column = _map(Path(path) / f"{name}.npy")
        if [column.dtype.str, list(column.shape)] != [dtype, shape]:
            raise DataError(
                f"Damaged data set {path}: {name} should be {dtype} {shape}, got "
                f"{column.dtype.str} {list(column.shape)}. Convert again."
            )
        columns[name] = column
    written = manifest["found"]
    found = {label: LabelCount(**written[label]) for label in LABELS}
    remarks = tuple(Finding(**remark) for remark in written.get("remarks", ()))
    keys = tuple(written.get("keys", ()))
    report = LabelReport(written["structures"], **found, remarks=remarks, keys=keys)
    return columns, Names(**manifest["names"]), report


@contextmanager
def _complete_or_nothing(out: Path) -> Iterator[Path]:
    """Give a folder that becomes `out` in the end; removed after an error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{uuid4().hex}.part")
    part.mkdir()
    try:
        yield part
        if out.exists():
            old = out.with_name(f".{out.name}.{uuid4().hex}.old")
            os.replace(out, old)
            os.replace(part, out)
            shutil.rmtree(old)
        else:
            os.replace(part, out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_manifest(folder: Path, names: Names, found: LabelReport) -> None:
    arrays = {}
    for path in sorted(folder.glob("*.npy")):
        column = _map(path)
        arrays[path.stem] = [column.dtype.str, list(column.shape)]
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "checksum": _checksum(VERSION, arrays),
        "arrays": arrays,
        "found": asdict(found),
        "names": asdict(names),
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1).encode())


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest: Any = None
    with suppress(OSError, ValueError):
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"Expected a data set of matkit, but {folder / MANIFEST} is not one.")
    if manifest["version"] > VERSION:
        raise DataError(
            f"{folder} has version {manifest['version']}, this matkit reads up to {VERSION}. "
            "Update matkit: pip install -U matkit"
        )
    arrays = manifest["arrays"]
    wanted = COLUMNS.keys() - arrays.keys()
    if manifest["checksum"] != _checksum(manifest["version"], arrays) or wanted:
        raise DataError(f"Damaged data set {folder}: its manifest was changed. Convert again.")
    return manifest


def _checksum(version: int, arrays: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([version, arrays], sort_keys=True).encode()).hexdigest()


def _map(path: Path) -> Column:
    try:
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"Damaged data set: cannot map {path} ({error}). Convert again.") from error
