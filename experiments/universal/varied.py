"""Crystals of many atoms with elements replaced by similar ones, relaxed a few steps.

Compounds of databases are for a large part made so, and those of many atoms, whose surroundings
are of most kinds, are few in the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from common import save

import matkit
from matkit.builders.crystals import substituted
from matkit.data.ase import from_ase
from matkit.data.groups import reduced_formula
from matkit.derivatives import ForceField

LEAST_ATOMS, VARIANTS = 13, 3
KEPT = (1, 6, 7, 8)  # H, C, N and O make groups of atoms in which nothing else can take their place
AGAIN = 0.5  # of the variants have another element replaced
# The model that ships, so that places are visited where it sees no forces.
MODEL, STEPS = "facet-universal", 15
# Displacement by force at first, Å²/eV, by how much it grows, and the longest, Å.
MOBILITY, GROWTH, LONGEST = 0.03, 1.1, 0.1
COMPLIANCE, LARGEST = 0.01, 0.03  # strain by virial per atom, 1/eV; largest of a step
VOLUMES = (0.6, 1.6)  # of structures that stay crystals, relative to the start
BATCH, SHARD = 25, 1000


def variants(
    crystals: Sequence[Atoms], forbidden: set[str], seed: int, count: int = VARIANTS
) -> Iterator[Atoms]:
    """Give variants of crystals that have something to replace, none of a forbidden formula."""
    rng = np.random.default_rng(seed)
    elements = sorted({z for atoms in crystals for z in atoms.numbers.tolist()} - {*KEPT})
    for atoms in crystals:
        if not {*atoms.numbers.tolist()} - {*KEPT}:
            continue
        for _ in range(count):
            made = replaced(atoms, elements, rng)
            if rng.random() < AGAIN:
                made = replaced(made, elements, rng)
            formula = reduced_formula(made.numbers)
            if formula not in forbidden:
                made.info = {"source": f"variant of {atoms.info['group']}", "group": formula}
                yield made


def replaced(atoms: Atoms, elements: Sequence[int], rng: np.random.Generator) -> Atoms:
    """Return a crystal with one element replaced, but none of those that make groups of atoms."""
    while True:
        made = substituted(atoms, elements, rng)
        if not np.isin(atoms.numbers[made.numbers != atoms.numbers], KEPT).any():
            return made


def write_relaxed(folder: Path, made: Sequence[Atoms], workers: int) -> list[Path]:
    """Relax structures and their cells a few steps and write them; files that are there stay."""
    parts = [made[i : i + SHARD] for i in range(0, len(made), SHARD)]
    paths = [folder / f"{number:03d}.extxyz" for number in range(len(parts))]
    left = [(part, path) for part, path in zip(parts, paths, strict=True) if not path.exists()]
    start = partial(torch.set_num_threads, 1)
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=start) as executor:
        for done in executor.map(_write, *zip(*left, strict=True)) if left else ():
            print(done, flush=True)
    return paths


def _write(part: Sequence[Atoms], path: Path) -> str:
    found = [atoms for i in range(0, len(part), BATCH) for atoms in relaxed(part[i : i + BATCH])]
    save(path.with_suffix(".part"), found).replace(path)
    return f"{path.name}: {len(found)} of {len(part)} are crystals still"


@lru_cache(maxsize=1)
def _potential() -> ForceField:
    return matkit.load(MODEL).float()


def relaxed(structures: Sequence[Atoms]) -> list[Atoms]:
    """Return structures a few steps downhill, without those that collapsed or fell apart."""
    work = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=True, info=a.info) for a in structures]
    names = ("energy", "forces", "stress")
    before, mobility = np.full(len(work), np.inf), np.full(len(work), MOBILITY)
    for _ in range(STEPS):
        graph = _potential().featurize(from_ase(work))
        found = _potential()(graph, properties=names)
        forces = found["forces"].detach().double().numpy()
        stress = found["stress"].detach().double().numpy()
        ends = np.cumsum([len(atoms) for atoms in work])[:-1]
        parts = np.split(forces, ends)
        size = np.array([np.abs(part).mean() for part in parts])
        mobility *= np.where(size < before, GROWTH, 0.5)
        before = size
        for atoms, force, tensor, mobile in zip(work, parts, stress, mobility, strict=True):
            longest = np.linalg.norm(force, axis=1, keepdims=True).clip(LONGEST / mobile)
            atoms.positions += LONGEST * force / longest
            strain = -tensor * atoms.get_volume() / len(atoms) * COMPLIANCE
            strain *= LARGEST / np.abs(strain).max().clip(LARGEST)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    shrunk = [b.get_volume() / a.get_volume() for a, b in zip(structures, work, strict=True)]
    return [a for a, part in zip(work, shrunk, strict=True) if VOLUMES[0] < part < VOLUMES[1]]
