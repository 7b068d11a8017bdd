"""Perceived molecules of QM9, kept in the user's cache: to find their bonds takes minutes."""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from matkit.cache import cache_folder
from matkit.data.opening import check_file
from matkit.molecules.entries import MoleculeEntry
from matkit.molecules.perception import COVALENT_FACTOR
from matkit.runs.atomic import write_atomically
from matkit.runs.versions import package_version
from matkit.structures import Structures

Arrays = Mapping[str, NDArray[Any]]
# To be raised when molecules are perceived or kept otherwise.
VERSION = 1
# What is raised by a file that is not there, or not whole; it is made anew.
DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)

log = logging.getLogger(__name__)


def cached_arrays(path: Path, kind: str, make: Callable[[], Arrays]) -> Arrays:
    """Return arrays that are made of a file, from the cache if they are there.

    Args:
        path: The file; another content, or another RDKit, makes them anew.
        kind: What they are.
        make: Makes them.

    Raises:
        DataError: there is no such file, or it is empty.
    """
    check_file(path)
    file = _place(path, kind)
    if file is None:
        return make()
    with suppress(*DAMAGED), file.open("rb") as stream, np.load(stream) as found:
        return dict(found)
    arrays = make()
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    try:
        write_atomically(file, content.getvalue())
    except OSError as error:
        log.warning("%s of %s are not kept for the next run: %s", kind, path, error)
    return arrays


def _place(path: Path, kind: str) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    status = path.stat()
    facts = (VERSION, COVALENT_FACTOR, package_version("rdkit"), status.st_size, status.st_mtime_ns)
    digest = hashlib.sha256(repr((str(path.resolve()), *facts)).encode()).hexdigest()[:16]
    return folder / "molecules" / f"{path.stem}-{kind}-{digest}.npz"


def pack(entries: Sequence[MoleculeEntry]) -> Arrays:
    """Return entries as arrays; what they carry must be numbers by the same names."""
    names = sorted(entries[0].carried) if entries else []
    molecules = [entry.structures for entry in entries]
    there = [one for one in molecules if one is not None]
    return {
        "sources": np.array([entry.source for entry in entries], dtype=str),
        "reasons": np.array([entry.reason for entry in entries], dtype=str),
        "names": np.array(names, dtype=str),
        "carried": np.array([[entry.carried[name] for name in names] for entry in entries]),
        "n_atoms": np.array([0 if one is None else len(one.species) for one in molecules]),
        "n_bonds": np.array([0 if one is None else _count(one) for one in molecules]),
        "species": _joined([one.species for one in there], np.uint8),
        "positions": _joined([one.positions for one in there], np.float64).reshape(-1, 3),
        "charges": _joined([one.atom["formal_charge"] for one in there], np.int8),
        "bonds": _joined([_bonds(one) for one in there], np.int16).reshape(-1, 2),
        "orders": _joined([one.bond["order"] for one in there], np.float64),
    }


def _count(one: Structures) -> int:
    return len(_bonds(one))


def _bonds(one: Structures) -> torch.Tensor:
    assert one.bonds is not None
    return one.bonds


def _joined(tensors: Sequence[torch.Tensor], dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.zeros(0), *(t.numpy().ravel() for t in tensors)]).astype(dtype)


def unpack(arrays: Arrays) -> Iterator[MoleculeEntry]:
    """Give the entries that `pack` was given."""
    names = arrays["names"].tolist()
    atoms, bonds = (np.cumsum(arrays[name]) for name in ("n_atoms", "n_bonds"))
    for i, source in enumerate(arrays["sources"].tolist()):
        carried = dict(zip(names, arrays["carried"][i].tolist(), strict=True))
        count = int(arrays["n_atoms"][i])
        if not count:
            yield MoleculeEntry(source, None, str(arrays["reasons"][i]), carried)
            continue
        rows = slice(atoms[i] - count, atoms[i])
        edges = slice(bonds[i] - arrays["n_bonds"][i], bonds[i])
        yield MoleculeEntry(source, _molecule(arrays, rows, edges), carried=carried)


def unpack_together(arrays: Arrays) -> tuple[list[int], Structures]:
    """Return which entries that `pack` was given are molecules, and these as one batch."""
    which = np.flatnonzero(arrays["n_atoms"])
    batch = _molecule(arrays, slice(None), slice(None))
    count = len(which)
    sizes, bonds = (torch.tensor(arrays[key][which]) for key in ("n_atoms", "n_bonds"))
    first = torch.cumsum(sizes, 0) - sizes
    return which.tolist(), batch.replace(
        n_atoms=sizes,
        cell=torch.zeros(count, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(count, 3, dtype=torch.bool),
        bonds=_bonds(batch) + first.repeat_interleave(bonds).unsqueeze(1),
    )


def _molecule(arrays: Arrays, atoms: slice, bonds: slice) -> Structures:
    def tensor(name: str, rows: slice, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(arrays[name][rows], dtype=dtype)

    return Structures(
        positions=tensor("positions", atoms, torch.float64),
        species=tensor("species", atoms, torch.long),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([len(arrays["species"][atoms])]),
        atom={"formal_charge": tensor("charges", atoms, torch.long)},
        bonds=tensor("bonds", bonds, torch.long),
        bond={"order": tensor("orders", bonds, torch.float64)},
    )
