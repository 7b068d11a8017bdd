"""A relaxation that is learnt: how near it comes, and how many steps of BFGS it saves.

    python experiments/relaxer.py OUT --minutes 8 --relax 20

Oxides of MP-20 with up to 12 atoms are displaced at random, and a Refinement of two steps learns
to bring them back, at fixed cells; every batch has displacements of its own. A fifth of the
formulas is held out for the test. Prints the root mean square distance of atoms from
MP-20's geometry before and after, and how many steps BFGS with the default potential takes from
the displaced crystals, from what the network makes of them, and from MP-20's geometry, which is the
least that a perfect network would leave, since the potential has minima of its own. The trained
weights are kept in OUT, and the same command reads them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from ase import Atoms
from common import data, table

import matkit as mk
from matkit.calculator import MatkitCalculator
from matkit.crystals.reading import read_entries
from matkit.data.ase import from_ase
from matkit.models import checkpoint
from matkit.nn.heads.refinement import Refinement
from matkit.nn.scatter import scatter_sum
from matkit.simulate.results import RelaxResult
from matkit.structures import Structures, cat

LARGEST, OXYGEN, HELD_OUT = 12, 8, 5
# Standard deviation of a coordinate, Å.
RATTLE = 0.15
BACKBONE = {"cutoff": 5.0, "channels": 32, "layers": 2, "radial_hidden": [32]}
REFINEMENTS, BATCH, RATE = 2, 16, 2e-3
FMAX, LONGEST = 0.05, 200


def main() -> None:
    """Train, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--relax", type=int, default=20, help="crystals that are relaxed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    every = [*oxides("train_partial.parquet"), *oxides("val.parquet")]
    learnt = [atoms for atoms in every if not is_held_out(atoms)]
    elements = {number for atoms in learnt for number in atoms.numbers.tolist()}
    test = [atoms for atoms in every if is_held_out(atoms) and elements.issuperset(atoms.numbers)]
    model = refinement(sorted(elements), learnt, args)
    generator = torch.Generator().manual_seed(1)
    wanted = cat([from_ase(atoms) for atoms in test])
    start = rattled(wanted, generator)
    with torch.no_grad():
        path = [start, *model(start)]
    print(f"{len(learnt)} crystals to learn from, {len(test)} to test on, of other formulas\n")
    names = ["before", *(f"after step {n + 1}" for n in range(REFINEMENTS))]
    print(table([distances(n, s, wanted) for n, s in zip(names, path, strict=True)]) + "\n")
    starts = {"displaced": start, "refined": path[-1], "MP-20": wanted}
    chosen = np.linspace(0, len(test) - 1, min(args.relax, len(test))).astype(int)
    if len(chosen):
        print(table(relaxations(starts, test, chosen)))


def oxides(name: str) -> list[Atoms]:
    """Return the small oxides of a file of MP-20."""
    entries = [item for _, item in read_entries(data("mp_20", name)) if isinstance(item, Atoms)]
    return [atoms for atoms in entries if OXYGEN in atoms.numbers and len(atoms) <= LARGEST]


def is_held_out(atoms: Atoms) -> bool:
    """Return whether a crystal is of the fifth of reduced formulas to test on."""
    formula = atoms.symbols.formula.reduce()[0].format("hill")
    return crc32(formula.encode()) % HELD_OUT == 0


def rattled(structures: Structures, generator: torch.Generator | None = None) -> Structures:
    """Return structures with displaced atoms."""
    noise = torch.randn(structures.positions.shape, generator=generator, dtype=torch.float64)
    return structures.replace(positions=structures.positions + RATTLE * noise)


def apart(found: Structures, wanted: Structures) -> torch.Tensor:
    """Return by how much atoms are displaced [N, 3], shifts of whole crystals apart, in Å."""
    moved = found.positions - wanted.positions
    mean = scatter_sum(moved, wanted.batch, len(wanted)) / wanted.n_atoms.unsqueeze(1)
    return moved - mean[wanted.batch]


def refinement(elements: list[int], learnt: list[Atoms], args: argparse.Namespace) -> Refinement:
    """Return a refinement after a training of so many minutes, or as an earlier one left it."""
    settings = {"species": elements, **BACKBONE}
    model = Refinement([checkpoint.build("hotpp", settings) for _ in range(REFINEMENTS)])
    path = args.out / "refinement.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        train(model, [from_ase(atoms) for atoms in learnt], args.minutes)
        torch.save(model.state_dict(), path)
    return model.eval()


def train(model: Refinement, learnt: list[Structures], minutes: float) -> None:
    """Train with the distances after every step as the loss; print it ten times."""
    optimizer = torch.optim.Adam(model.parameters())
    begin, share, losses = time.perf_counter(), 0.0, []
    while share < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * share))
        wanted = cat([learnt[row] for row in torch.randint(len(learnt), (BATCH,)).tolist()])
        steps = model(rattled(wanted))
        loss = torch.stack([apart(step, wanted).square().mean() for step in steps]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        before, share = share, (time.perf_counter() - begin) / (60 * minutes)
        if int(10 * before) < int(10 * share):
            print(f"{len(losses)} batches, loss {np.mean(losses):.4f} Å²", flush=True)
            losses.clear()


def distances(name: str, found: Structures, wanted: Structures) -> dict[str, object]:
    """Return the distances from MP-20's geometry, over crystals."""
    squares = apart(found, wanted).square().sum(dim=1)
    of_crystal = (scatter_sum(squares, wanted.batch, len(wanted)) / wanted.n_atoms).sqrt()
    return {
        "": name,
        "mean RMSD, Å": float(of_crystal.mean()),
        "median RMSD, Å": float(of_crystal.median()),
    }


def relaxations(
    starts: dict[str, Structures], test: list[Atoms], chosen: np.ndarray
) -> list[dict[str, object]]:
    """Return how relaxations from each kind of start end, by the default potential."""
    calc = mk.load_calculator(dtype="float64", device="cpu")
    ends = {name: relaxed(structures, test, chosen, calc) for name, structures in starts.items()}
    rows: list[dict[str, object]] = []
    for name, results in ends.items():
        pairs = zip(results, ends["MP-20"], strict=True)
        above = np.array([(a.energy - b.energy) / len(a.atoms) for a, b in pairs])
        rows.append(
            {
                "start": name,
                "mean steps": float(np.mean([result.steps for result in results])),
                "converged": f"{sum(result.converged for result in results)} of {len(results)}",
                "within 1 meV/atom of MP-20's": int((np.abs(above) < 1e-3).sum()),
            }
        )
    return rows


def relaxed(
    structures: Structures, test: list[Atoms], chosen: np.ndarray, calc: MatkitCalculator
) -> list[RelaxResult]:
    """Return the relaxations of some crystals at fixed cells."""
    places = structures.positions.split(structures.n_atoms.tolist())
    results = []
    for row in chosen:
        atoms = test[row].copy()
        atoms.positions = places[row].numpy()
        results.append(mk.relax(atoms, calc, optimizer="BFGS", fmax=FMAX, steps=LONGEST))
    return results


if __name__ == "__main__":
    main()
