"""Judge what a Wyckoff Transformer draws, before it has coordinates.

    python experiments/wyckoff.py MODEL TRAIN TEST [--count 1000]

MODEL is a model file, TRAIN and TEST are files of crystals. Prints as JSON how many genes are
formally valid (positions of their group, those without free coordinates used once), have just the
symmetry of their group, are balanced by SMACT, unique, and not in TRAIN (the gene, or its template:
the gene without elements); the part in P1 and the distance of the space groups from those of TEST,
the sum of (f - f_test)^2 / f_test as in the authors' code, beside that of samples of TEST of the
same size; and how long the drawing took.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch

from matkit.crystals.reading import read_entries
from matkit.crystals.validity import composition_validity
from matkit.interfaces import Blueprint, Condition, Generator
from matkit.models import checkpoint
from matkit.symmetry.generic import generic_group
from matkit.symmetry.genes import gene_of
from matkit.symmetry.normalizer import canonical_orbits
from matkit.symmetry.wyckoff import wyckoff_positions

Genes = list[tuple[int, tuple[tuple[int, int], ...]]]


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    generator, _ = checkpoint.load(asked.model, Generator)
    begin = time.perf_counter(), time.process_time()
    seeds = torch.arange(asked.count) + (asked.seed << 32)
    drawn = generator.sample(Condition(count=asked.count), 1, seeds)
    wall, busy = time.perf_counter() - begin[0], time.process_time() - begin[1]
    genes = [_drawn(part) for part in drawn.split()]
    print(json.dumps({"seconds": wall, "cpu_seconds": busy, "model": asked.model}))
    print(json.dumps(_by_themselves(genes, drawn)))
    print(json.dumps(_beside(genes, _read(asked.train), _read(asked.test)), indent=1))


def _drawn(part: Blueprint) -> tuple[int, tuple[tuple[int, int], ...]]:
    number, rows = int(part.space_group), _pairs(part.species, part.position)
    orbits, start = [], 0
    while start < len(rows):
        orbits.append(rows[start])
        start += wyckoff_positions(number)[rows[start][1]].multiplicity
    return number, tuple(orbits)


def _pairs(species: torch.Tensor, position: torch.Tensor) -> list[tuple[int, int]]:
    return list(zip(species.tolist(), position.tolist(), strict=True))


def _read(path: str) -> Genes:
    genes = []
    for _, atoms in read_entries([path], None):
        gene = gene_of(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
        orbits = zip(gene.species.tolist(), gene.position.tolist(), strict=True)
        genes.append((gene.number, tuple(orbits)))
    return genes


def _by_themselves(genes: Genes, drawn: Blueprint) -> dict[str, float]:
    parts = drawn.split()
    return {
        "formally_valid": _mean(map(_is_valid, genes)),
        "no_higher_symmetry": _mean(_is_whole(*gene) for gene in genes),
        "smact": _mean(composition_validity(part.species.tolist()) for part in parts),
        "atoms": float(drawn.n_atoms.double().mean()),
        "largest": int(drawn.n_atoms.max()),
        "elements": _mean(len(part.species.unique()) for part in parts),
    }


def _is_valid(gene: tuple[int, tuple[tuple[int, int], ...]]) -> bool:
    number, orbits = gene
    positions = wyckoff_positions(number)
    fixed = Counter(position for _, position in orbits if not positions[position].free)
    return all(position < len(positions) for _, position in orbits) and set(fixed.values()) <= {1}


def _is_whole(number: int, orbits: tuple[tuple[int, int], ...]) -> bool:
    return generic_group(number, tuple(sorted((position, z) for z, position in orbits))) == number


def _beside(genes: Genes, train: Genes, test: Genes) -> dict[str, object]:
    known, templates = ({make(*g) for g in train} for make in (_canonical, _template))
    unique = {_canonical(*gene) for gene in genes}
    groups, wanted = ([number for number, _ in part] for part in (genes, test))
    rng = np.random.default_rng(0)
    samples = [rng.choice(wanted, len(genes)) for _ in range(200)]
    chances = sorted(_chi2(sample, wanted) for sample in samples)
    p1 = _mean(number == 1 for number in wanted)
    return {
        "unique": len(unique) / len(genes),
        "novel": _mean(_canonical(*gene) not in known for gene in genes),
        "novel_template": _mean(_template(*gene) not in templates for gene in genes),
        "test_novel": _mean(_canonical(*gene) not in known for gene in test),
        "p1": _mean(number == 1 for number in groups),
        "p1_test": [p1, (p1 * (1 - p1) / len(genes)) ** 0.5],
        "chi2": _chi2(groups, wanted),
        "chi2_of_the_training_set": _chi2([number for number, _ in train], wanted),
        "chi2_of_samples": {str(q): chances[int(q * 199)] for q in (0.025, 0.5, 0.975)},
        "smact_test": _mean(composition_validity(_atoms(*gene)) for gene in test),
    }


def _canonical(number: int, orbits: tuple[tuple[int, int], ...]) -> object:
    return number, canonical_orbits(number, orbits)


def _template(number: int, orbits: tuple[tuple[int, int], ...]) -> object:
    """Return the gene with elements named by the positions that they are on."""
    positions: dict[int, list[int]] = {}
    for z, position in orbits:
        positions.setdefault(z, []).append(position)
    order = sorted(positions, key=lambda z: sorted(positions[z]))
    names = {z: index for index, z in enumerate(order)}
    return number, canonical_orbits(number, [(names[z], position) for z, position in orbits])


def _atoms(number: int, orbits: tuple[tuple[int, int], ...]) -> list[int]:
    positions = wyckoff_positions(number)
    return [z for z, position in orbits for _ in range(positions[position].multiplicity)]


def _chi2(groups: Iterable[int], wanted: list[int]) -> float:
    """Return the sum of (f - f_test)^2 / f_test over the groups of the test set."""
    expected = Counter(wanted)
    counts = Counter(number for number in groups if number in expected)
    total = sum(counts.values())
    share = {number: count / len(wanted) for number, count in expected.items()}
    return float(sum((counts[n] / total - f) ** 2 / f for n, f in share.items()))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    main()
