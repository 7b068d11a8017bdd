"""Labels beside the predictions of a model: a few structures settle units and signs.

Any potential that is roughly right tells -1, 23.06 and 27.2 apart, which differ by far more than
the errors of the model. Where it fits no label well nothing is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from matkit.data.dataset import Dataset, has_label
from matkit.data.findings import Finding
from matkit.data.fingerprints import Array
from matkit.data.labels import FORCE_UNITS, STRESS_UNITS
from matkit.data.unit_names import ENERGY_UNITS, PER_ATOM
from matkit.interfaces import Properties
from matkit.structures import Structures

Predict = Callable[[Structures], Properties]

# Structures that are compared, at most; and atoms of all of them.
STRUCTURES, MOST_ATOMS = 5, 400
# For energies, whose differences say less: structures of few compositions, and differences.
ALIKE, FEWEST_DIFFERENCES, MOST_ATOMS_ALIKE = 12, 4, 1200
# Quantiles of the mean squares of forces between which structures are compared.
MIDDLE = (0.4, 0.9)
# Part of the squares that an explanation leaves open, at most; and how much worse "nothing is
# wrong" must be for a complaint.
MOST_LEFT, MUCH_WORSE = 0.4, 3.0
# The same of differences of energies, and of energies, which mostly count from another zero.
MOST_LEFT_ENERGY, MOST_LEFT_TOTAL = 0.6, 0.03
FEWEST_FORMULAS = 3
# Smaller structures do not tell energies per atom from a poor prediction.
FEWEST_ATOMS = 10
# Explanations that are so much alike are told together.
ALIKE_LEFT, ALIKE_LEFT_ENERGY = 0.05, 0.15
# Numbers that a comparison needs.
FEWEST_NUMBERS = 12
# Structures with a stress: that of a single one may be one number, a pressure, of either sign.
FEWEST_STRESSES = 3
# eV/Å and eV/Å³; smaller labels are rounding.
SMALLEST_FORCE, SMALLEST_STRESS = 0.01, 1e-4


@dataclass(frozen=True)
class Comparison:
    """How labels compare with predictions.

    Attributes:
        slope: Labels over predictions.
        correlation: Their correlation, around zero.
        best: Name of the explanation that fits best; `right` if nothing is wrong.
        left: Part of the squares of the predictions that it leaves open.
        plain: The same if nothing is wrong.
        candidates: All that fit nearly as well, the best first.
    """

    slope: float
    correlation: float
    best: str
    left: float
    plain: float
    candidates: tuple[str, ...]


RIGHT = "right"
GRADIENTS = "gradients of the energy, not forces"


def compare(
    label: Array, prediction: Array, explained: Mapping[str, Array], alike: float = ALIKE_LEFT
) -> Comparison:
    """Return which explanation makes labels equal to predictions.

    Args:
        label: Numbers as they are.
        prediction: Numbers of a model.
        explained: What the labels would be if each explanation were true.
        alike: How much more than the best one an explanation may leave open to be told too.
    """
    squares = float(prediction @ prediction)
    with np.errstate(over="ignore"):  # absurd labels: infinitely far away
        both, norm = float(label @ prediction), float(label @ label)
        left = {
            name: float(np.square(values - prediction).sum()) / squares
            for name, values in {RIGHT: label, **explained}.items()
        }
    best = min(left, key=lambda name: left[name])
    correlation = both / np.sqrt(norm * squares) if norm else 0.0
    near = tuple(n for n in sorted(left, key=lambda n: left[n]) if left[n] < left[best] + alike)
    return Comparison(both / squares, float(correlation), best, left[best], left[RIGHT], near)


def check_with_model(
    dataset: Dataset, predict: Predict, known: Collection[int], model: str
) -> list[Finding]:
    """Compare the labels of a few structures with the predictions of a model.

    Args:
        dataset: Labelled structures.
        predict: Gives energy, forces and stress of structures.
        known: Elements that the model knows.
        model: What it is called.
    """
    bonded = dataset.without_isolated()
    usable = _usable(bonded, known)
    if not usable:
        return []
    sizes = bonded.structures.n_atoms
    telling = _spread(_telling(bonded, usable), STRUCTURES, sizes)
    few = bonded.subset(sorted({*telling, *_spread(usable, STRUCTURES, sizes)}))
    prediction = predict(few.structures)
    findings = _forces(few, prediction, model)
    if any(finding.severity == "note" for finding in findings):
        return findings  # a model that is wrong about forces is no judge of the rest
    findings += _stress(few, prediction, model)
    alike = _alike(bonded, usable)
    same = bonded.subset(alike)
    changes = _differences(same, predict(same.structures)["energy"], model) if alike else []
    return findings + (changes or _totals(few, prediction["energy"], model))


def _forces(dataset: Dataset, prediction: Properties, model: str) -> list[Finding]:
    label, guess = dataset.structures.atom["forces"].numpy(), prediction["forces"].numpy()
    both = np.isfinite(label).all(axis=1)
    label, guess = label[both].ravel(), guess[both].ravel()
    if len(label) < FEWEST_NUMBERS or np.abs(guess).max() < SMALLEST_FORCE or not label.any():
        return []
    explained = {
        _named(unit, sign): sign * factor * label
        for (unit, factor), sign in product(FORCE_UNITS.items(), (1, -1))
        if (factor, sign) != (1, 1)
    }
    found = compare(label, guess, explained)
    text = _told("forces", found, model)
    if not _is_wrong(found, MOST_LEFT):
        is_fine = found.best == RIGHT and found.left < MOST_LEFT
        return [Finding("fine" if is_fine else "note", "forces and model", text)]
    guesses = [_parts(name) for name in found.candidates if name != RIGHT]
    texts = [
        " and ".join(
            [f"in {u}"] * (u != "eV/A") + ["gradients of the energy, not forces"] * (n < 0)
        )
        for u, n in guesses
    ]
    flags = [
        " ".join([f"--forces-unit {u}"] * (u != "eV/A") + ["--forces-sign gradient"] * (n < 0))
        for u, n in guesses
    ]
    message = f"{text}: they seem to be {' or '.join(texts)}"
    return [Finding("problem", "forces and model", message, " or ".join(flags))]


def _stress(dataset: Dataset, prediction: Properties, model: str) -> list[Finding]:
    structures = dataset.structures
    both = has_label(structures, "stress") & structures.pbc.all(dim=1) & (structures.volume > 0)
    if int(both.sum()) < FEWEST_STRESSES:
        return []
    label, guess = structures.system["stress"][both].numpy(), prediction["stress"][both].numpy()
    volume = structures.volume[both].numpy()[:, None, None]
    if np.abs(guess).max() < SMALLEST_STRESS or not label.any():
        return []
    explained = {
        _named(unit, sign): (sign * factor * label).ravel()
        for (unit, factor), sign in product(STRESS_UNITS.items(), (1, -1))
        if (factor, sign) != (1, 1)
    }
    explained |= {"a virial": (-label / volume).ravel(), "no virial": (-label * volume).ravel()}
    explained["a virial of the other sign"] = (label / volume).ravel()
    found = compare(label.ravel(), guess.ravel(), explained)
    text = _told("stresses", found, model)
    if not _is_wrong(found, MOST_LEFT):
        is_fine = found.best == RIGHT and found.left < MOST_LEFT
        fine = [Finding("fine" if is_fine else "note", "stress and model", text)]
        return (_shear_order(label, guess, model) or fine) if is_fine else fine
    guesses = [_said_of_stress(name) for name in found.candidates if name != RIGHT]
    message = f"{text}: they seem to be {' or '.join(what for what, _ in guesses)}"
    fix = " or ".join(dict.fromkeys(flag for _, flag in guesses))
    return [Finding("problem", "stress and model", message, fix)]


def _said_of_stress(name: str) -> tuple[str, str]:
    """Return an explanation in words, and the flags that follow from it."""
    if "virial" in name:
        return name, "--stress-key KEY" if name == "no virial" else "--virials-key KEY"
    unit, sign = _parts(name)
    what = [f"in {unit}"] * (unit != "eV/A3") + ["of the other sign"] * (sign < 0)
    flags = [f"--stress-unit {unit}"] * (unit != "eV/A3") + ["--stress-sign vasp"] * (sign < 0)
    return " and ".join(what), " ".join(flags)


def _shear_order(label: Array, guess: Array, model: str) -> list[Finding]:
    """Find shear stresses that were read as yz, xz, xy but are xy, yz, zx, as VASP prints them."""
    rows, columns = [1, 0, 0], [2, 2, 1]
    label, guess = label[:, rows, columns], guess[:, rows, columns]
    if label.size < FEWEST_NUMBERS or np.abs(guess).max() < SMALLEST_STRESS:
        return []
    explained = {"VASP's order": label[:, [1, 2, 0]].ravel()}
    found = compare(label.ravel(), guess.ravel(), explained)
    if not _is_wrong(found, MOST_LEFT):
        return []
    message = f"{_told('shear stresses', found, model)}: they seem to be xy, yz, zx, as VASP prints"
    fix = "write xx, yy, zz, yz, xz, xy, or 3x3"
    return [Finding("problem", "stress order", message, fix)]


def _differences(dataset: Dataset, prediction: Tensor, model: str) -> list[Finding]:
    """Compare differences of energies of structures of one composition, pooled."""
    energy = dataset.structures.system["energy"]
    n_atoms = dataset.structures.n_atoms.double().numpy()
    label, guess = (_centred(dataset, values) for values in (energy, prediction))
    if not label.any() or np.abs(guess).max() < 1e-4 * n_atoms.max():
        return []
    explained = {unit: factor * label for unit, factor in ENERGY_UNITS.items() if factor != 1}
    if n_atoms.min() >= FEWEST_ATOMS:
        explained[f"eV{PER_ATOM}"] = n_atoms * label
    found = compare(label, guess, explained, ALIKE_LEFT_ENERGY)
    return _energy_unit(found, MOST_LEFT_ENERGY, "energy differences", model)


def _totals(dataset: Dataset, prediction: Tensor, model: str) -> list[Finding]:
    """Compare energies per atom of several compositions, if they count from the model's zero.

    Only labels that are too small are explained: those of all electrons are rightly larger.
    """
    n_atoms = dataset.structures.n_atoms.double().numpy()
    label, guess = (
        dataset.structures.system["energy"].numpy() / n_atoms,
        prediction.numpy() / n_atoms,
    )
    if len(set(dataset.formulas)) < FEWEST_FORMULAS or not np.isfinite(label).all():
        return []
    explained = {unit: ENERGY_UNITS[unit] * label for unit in ("hartree", "rydberg")}
    explained[f"eV{PER_ATOM}"] = n_atoms * label
    return _energy_unit(compare(label, guess, explained), MOST_LEFT_TOTAL, "energies", model)


def _energy_unit(found: Comparison, most_left: float, what: str, model: str) -> list[Finding]:
    if not _is_wrong(found, most_left, 1.5):
        return []
    units = " or ".join(name for name in found.candidates if name != RIGHT)
    message = f"{_told(what, found, model)}: they seem to be in {units}"
    return [Finding("problem", "energies and model", message, f"--energy-unit {units}")]


def _centred(dataset: Dataset, energies: Tensor) -> Array:
    """Return energies [B] less the mean of those of the same composition."""
    values = energies.numpy().copy()
    for members in _compositions(dataset, range(len(dataset))).values():
        values[members] -= values[members].mean()
    return values


def _is_wrong(found: Comparison, most_left: float, much_worse: float = MUCH_WORSE) -> bool:
    return (
        found.best != RIGHT
        and found.left < most_left
        and found.plain > much_worse * max(found.left, 0.05)
    )


def _told(what: str, found: Comparison, model: str) -> str:
    return (
        f"{what} are {found.slope:.4g} times those of {model} (correlation {found.correlation:.3f})"
    )


def _named(unit: str, sign: int) -> str:
    return f"{unit} {sign:+d}"


def _parts(name: str) -> tuple[str, int]:
    unit, sign = name.rsplit(" ", 1)
    return unit, int(sign)


def _usable(dataset: Dataset, known: Collection[int]) -> list[int]:
    """Return the structures that the model can compute, the small ones if there are any."""
    structures = dataset.structures
    elements = torch.tensor(sorted(known))
    strange = (~torch.isin(structures.species, elements)).double()
    count = torch.zeros(len(structures), dtype=torch.float64)
    count.index_add_(0, structures.batch, strange)
    fits = (count == 0) & (structures.n_atoms <= MOST_ATOMS)
    return fits.nonzero().flatten().tolist()


def _spread(
    which: list[int], most: int, n_atoms: Tensor, most_atoms: int = MOST_ATOMS
) -> list[int]:
    """Return structures from beginning to end, not too many atoms together."""
    steps = np.unique(np.linspace(0, len(which) - 1, min(most, len(which))).astype(int))
    taken: list[int] = []
    atoms = 0
    for i in (which[step] for step in steps):
        atoms += int(n_atoms[i])
        if taken and atoms > most_atoms:
            break
        taken.append(i)
    return taken


def _telling(dataset: Dataset, usable: list[int]) -> list[int]:
    """Return the structures with forces that are neither small nor the largest, if there are any.

    Relaxed structures say nothing, and a model may be wrong about extreme ones.
    """
    structures = dataset.structures
    squares = torch.zeros(len(structures), dtype=torch.float64)
    squares.index_add_(0, structures.batch, structures.atom["forces"].square().sum(dim=1))
    mean = (squares / structures.n_atoms)[usable].numpy()
    known = mean[np.isfinite(mean) & (mean > 0)]
    if len(known) < 2 * STRUCTURES:
        return usable
    low, high = np.quantile(known, MIDDLE)
    return [i for i, value in zip(usable, mean, strict=True) if low <= value <= high]


def _alike(dataset: Dataset, usable: Iterable[int]) -> list[int]:
    """Return structures with energies, several of each of few compositions."""
    sizes = dataset.structures.n_atoms
    has_energy = dataset.structures.system["energy"].isfinite().tolist()
    groups = _compositions(dataset, (i for i in usable if has_energy[i]))
    taken: list[int] = []
    count = 0
    for members in sorted(groups.values(), key=len, reverse=True):
        left = MOST_ATOMS_ALIKE - int(sizes[taken].sum())
        some = _spread(members, ALIKE - len(taken), sizes, left)
        if len(some) < 2:
            break
        taken += some
        count += len(some) - 1
        if ALIKE - len(taken) < 2:
            break
    return sorted(taken) if count >= FEWEST_DIFFERENCES else []


def _compositions(dataset: Dataset, which: Iterable[int]) -> dict[tuple[str, int], list[int]]:
    sizes = dataset.structures.n_atoms.tolist()
    groups = defaultdict[tuple[str, int], list[int]](list)
    for i in which:
        groups[dataset.formulas[i], sizes[i]].append(i)
    return groups
