"""Checks of one data set: labels, forces, elements and distances."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch

from matkit.data.consistency import judge, stepping_pairs
from matkit.data.dataset import Dataset, has_label
from matkit.data.findings import Finding, examples
from matkit.data.fingerprints import Array, Fingerprints, fingerprints
from matkit.data.labels import FORCE_UNITS, LABELS, describe
from matkit.elements import format_species

# Largest component of a net force that is rounding, in eV/Å.
NET_FORCE = 0.05
# Largest force that is usual, in eV/Å.
LARGE_FORCE = 50.0
# Distance as a fraction of the sum of covalent radii.
TOO_CLOSE = 0.6
# Fewer steps than this are a suspicion only.
ENOUGH_STEPS = 6
# Most structures of a sample being too close, or the median this far, is a wrong unit of length.
SAMPLED, MOSTLY, TOO_FAR = 20, 0.8, 1.6
NOBLE_GASES = {2, 10, 18, 36, 54, 86}
# Structures with forces of zero whose surroundings are looked at; the rest will be alike.
MOST_LOOKED_AT = 200
# Surroundings that are more uneven than this are not so by rounding.
ONE_SIDED = 1e-2


@dataclass(frozen=True)
class KnownElements:
    """Elements of the model to start from.

    Attributes:
        model: What it is called.
        species: Atomic numbers.
        obstacle: Why fine-tuning cannot add those that are lacking; empty if it can.
    """

    model: str
    species: Collection[int]
    obstacle: str = ""


def check_labels(dataset: Dataset) -> list[Finding]:
    """Say which labels there are, and complain about those that are not."""
    findings = [Finding("note", "labels", line) for line in dataset.label_report.lines()]
    findings += dataset.label_report.remarks
    findings += [finding for label in LABELS for finding in _elsewhere(dataset, label)]
    structures = dataset.structures
    for label in ("energy", "forces"):
        lacking = (~has_label(structures, label)).nonzero().flatten().tolist()
        findings += _missing(dataset, label, lacking)
    stressed = has_label(structures, "stress")
    isolated = set(dataset.isolated_indices())
    periodic = (~stressed & structures.pbc.all(dim=1)).nonzero().flatten().tolist()
    lacking = [i for i in periodic if i not in isolated]
    if bool(stressed.any()) and lacking:
        message = f"{len(lacking)} periodic structures have no stress: {_named(dataset, lacking)}"
        fix = "nothing, they are left out of the loss of the stress (--allow-missing)"
        findings.append(Finding("warning", "missing stress", message, fix))
    return findings


def check_forces(dataset: Dataset) -> list[Finding]:
    """Check that forces add up to zero, are not placeholders, and agree with the energies."""
    if not len(dataset):
        return []
    structures = dataset.structures
    forces = structures.atom["forces"]
    net = torch.zeros(len(dataset), 3, dtype=torch.float64).index_add(0, structures.batch, forces)
    largest = np.zeros(len(dataset))
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        np.maximum.at(largest, structures.batch.numpy(), forces.abs().amax(dim=1).numpy())
    findings = _net_forces(dataset, net.abs().amax(dim=1).numpy())
    findings += _zero_forces(dataset, largest)
    big = np.flatnonzero(largest > LARGE_FORCE).tolist()
    if big:
        named = examples([dataset.sources[i] for i in big], [f"{largest[i]:.1f}" for i in big])
        message = f"{len(big)} structures have forces above {LARGE_FORCE:.0f} eV/Å: {named}"
        findings.append(Finding("warning", "large forces", message, "take them out if unwanted"))
    return findings + _steps(dataset)


def check_elements(dataset: Dataset, known: KnownElements) -> list[Finding]:
    """Check that a model knows all elements."""
    present = set(dataset.structures.species.tolist())
    unknown = present - set(known.species)
    if not unknown:
        text = f"{known.model} knows all elements: {format_species(present)}"
        return [Finding("fine", "elements", text)]
    message = f"{known.model} does not know {format_species(unknown)}"
    fix = "fine-tune with new elements (matkit finetune adds them), or choose another model"
    if known.obstacle:
        fix = f"choose another model: fine-tuning cannot add them to this one ({known.obstacle})"
    return [Finding("problem", "elements", message, fix)]


def check_lengths(dataset: Dataset) -> list[Finding]:
    """Check on some structures that atoms are as far apart as atoms are: is the unit right?"""
    bonded = dataset.without_isolated()
    many = (bonded.structures.n_atoms > 1).nonzero().flatten().tolist()
    if not many:
        return []
    some = many[:: max(1, len(many) // SAMPLED)][:SAMPLED]
    structures = bonded.structures.index(some)
    closest = fingerprints(structures).closest
    typical = float(np.median(closest))
    text = f"the nearest atoms of structures are {typical:.2f} times their covalent radii apart"
    if (closest < TOO_CLOSE).mean() >= MOSTLY:
        message = f"{text}, which no atoms are: positions are in another unit than they are read in"
        fix = "--length-unit A, nm or bohr, and --energy-unit if that is wrong too"
        return [Finding("problem", "unit of length", message, fix)]
    if typical > TOO_FAR and not set(structures.species.tolist()) & NOBLE_GASES:
        message = f"{text}: positions may be in Bohr"
        return [Finding("warning", "unit of length", message, "--length-unit bohr, if so")]
    return []


def check_distances(dataset: Dataset, prints: Fingerprints) -> list[Finding]:
    """Check that no atoms are on top of each other."""
    close = np.flatnonzero(prints.closest < TOO_CLOSE).tolist()
    if not close:
        return [Finding("fine", "distances", "no atoms are too close")]
    named = examples(
        [dataset.sources[i] for i in close], [f"{prints.closest[i]:.2f}" for i in close]
    )
    message = (
        f"{len(close)} structures have atoms nearer than {TOO_CLOSE} times the sum of their "
        f"covalent radii: {named}"
    )
    fix = "take them out, unless they are meant (high pressure, collisions)"
    return [Finding("warning", "distances", message, fix)]


def _elsewhere(dataset: Dataset, label: str) -> list[Finding]:
    found = getattr(dataset.label_report, label)
    if not found.lost:
        return []
    others = ", ".join(f"{describe(key)} ({n})" for key, n in found.others.items())
    message = (
        f"{label} is taken from {describe(found.key)}; {found.lost} structures have it elsewhere "
        f"only: {others}"
    )
    fix = f"--{label}-key, or bring all to one key if they are of one level of theory"
    return [Finding("problem", f"mixed {label}", message, fix)]


def _missing(dataset: Dataset, label: str, lacking: list[int]) -> list[Finding]:
    isolated = set(dataset.isolated_indices())
    if label == "forces":
        lacking = [i for i in lacking if i not in isolated]
    if not lacking:
        return []
    if len(lacking) == len(dataset):
        message = f"no structure has {label}; {dataset.label_report.keys_found}"
        severity = "problem" if label == "energy" else "warning"
        fix = f"--{label}-key KEY if it has another name; else --{label}-weight 0"
        return [Finding(severity, f"missing {label}", message, fix)]
    message = (
        f"{len(lacking)} structures have no {label}: {_named(dataset, lacking)}; "
        f"{dataset.label_report.keys_found}"
    )
    fix = f"--{label}-key KEY if it has another name, take them out, or --allow-missing"
    return [Finding("problem", f"missing {label}", message, fix)]


def _net_forces(dataset: Dataset, net: Array) -> list[Finding]:
    moving = np.flatnonzero(net > NET_FORCE).tolist()
    if not moving:
        text = "forces add up to zero" if np.isfinite(net).any() else ""
        return [Finding("fine", "net forces", text)] if text else []
    message = (
        f"forces of {len(moving)} structures do not add up to zero: the largest component is "
        f"{np.nanmedian(net):.3f} eV/Å in the median, {np.nanmax(net):.3f} at most "
        f"({dataset.sources[int(np.nanargmax(net))]}). No potential can learn this part"
    )
    fix = "--zero-net-force subtracts the mean force; check for constraints or external fields"
    return [Finding("warning", "net forces", message, fix)]


def _zero_forces(dataset: Dataset, largest: Array) -> list[Finding]:
    """Find forces of exactly zero where no symmetry makes them so."""
    zero = np.flatnonzero(largest == 0).tolist()
    if not zero:
        return []
    looked_at = zero[:: max(1, len(zero) // MOST_LOOKED_AT)]
    uneven = fingerprints(dataset.structures.index(looked_at)).one_sided() > ONE_SIDED
    if not uneven.any():
        return []
    zero = [i for i, is_uneven in zip(looked_at, uneven, strict=True) if is_uneven]
    message = (
        f"{len(zero)} structures have forces of exactly zero, though their atoms are surrounded "
        f"unevenly: {_named(dataset, zero)}. These are placeholders"
    )
    fix = "remove the forces of these structures, and set --allow-missing"
    return [Finding("problem", "zero forces", message, fix)]


def _steps(dataset: Dataset) -> list[Finding]:
    """Compare energies with the work of the forces along small steps."""
    verdict = judge(*stepping_pairs(dataset), FORCE_UNITS)
    if verdict.unit is None and not verdict.is_absurd:
        return []
    text = (
        f"energies of {verdict.pairs} small steps are {verdict.ratio:.4g} times the work of the "
        "forces"
    )
    if verdict.unit == "eV/A" and verdict.sign > 0:
        return [Finding("fine", "forces and energies", text)]
    severity = "problem" if verdict.pairs >= ENOUGH_STEPS else "warning"
    if verdict.unit is None:
        fix = "look for the right keys and units (--energy-unit, --forces-unit)"
        return [Finding(severity, "forces and energies", f"{text}, which fits no unit", fix)]
    sign = "have the wrong sign (they are gradients)" if verdict.sign < 0 else ""
    unit = f"seem to be in {verdict.unit}" if verdict.unit != "eV/A" else ""
    message = f"{text}: the forces {' and '.join(filter(None, [unit, sign]))}"
    flags = [f"--forces-unit {verdict.unit}"] if verdict.unit != "eV/A" else []
    flags += ["--forces-sign gradient"] if verdict.sign < 0 else []
    fix = f"{' '.join(flags)}, if it is not the energies that are wrong (--energy-unit)"
    return [Finding(severity, "forces and energies", message, fix)]


def _named(dataset: Dataset, which: list[int]) -> str:
    return examples([dataset.sources[i] for i in which])
