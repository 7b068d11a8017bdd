"""From structures to labelled frames: what every worker does."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from matkit.data.remarks import describes_labels
from matkit.hessians.differences import symmetrised
from matkit.label.calculator_engine import is_factory
from matkit.label.engines import MATRICES, EngineSpec, load_engine
from matkit.label.labels import Array, Engine, Labels
from matkit.label.options import STEP, XTB, LabellingOptions
from matkit.runs.items import Item, ItemResult, failed

# Rounding of 4e-6 eV/Å² at 60 eV/Å², far below the noise of any label, for half the disk.
HESSIAN_TYPE = np.dtype("<f4")


def spec_of(options: LabellingOptions) -> EngineSpec:
    """Return which engine labels."""
    if options.hamiltonian is not None:
        arguments = {} if options.forces else {"forces": False}
        return _spec(f"{MATRICES}{options.hamiltonian}", arguments, options, None)
    return _spec(options.calculator, options.calculator_options, options, options.dispersion)


def second_spec(options: LabellingOptions) -> EngineSpec | None:
    """Return which engine has to agree, if any; matkit models get the dispersion too."""
    if options.agree is None:
        return None
    is_model = options.agree not in XTB and not is_factory(options.agree)
    return _spec(options.agree, {}, options, options.dispersion if is_model else None)


def _spec(
    name: str, arguments: Mapping[str, Any], options: LabellingOptions, dispersion: str | None
) -> EngineSpec:
    return EngineSpec(
        name=name,
        options=json.dumps(arguments, sort_keys=True),
        device=options.device,
        dtype=options.precision,
        batch_atoms=options.batch_atoms,
        ignore_charge=options.ignore_charge,
        dispersion=dispersion,
        dispersion_functional=options.dispersion_functional,
    )


def label_items(options: LabellingOptions, items: Sequence[Item]) -> list[ItemResult]:
    """Return what became of every item."""
    engine, second = load_engine(spec_of(options)), second_spec(options)
    readable = [item for item in items if item.content is not None]
    structures = [item.content for item in readable]
    found = dict(zip(map(_number, readable), engine.labels(structures), strict=True))
    other: dict[int, Labels | str] = {}
    if second is not None:
        opinions = load_engine(second).labels(structures)
        other = dict(zip(map(_number, readable), opinions, strict=True))
    return [
        _outcome(item, found.get(item.index, item.reason), other.get(item.index), options)
        for item in items
    ]


def _number(item: Item) -> int:
    return item.index


def _outcome(
    item: Item, labels: Labels | str, second: Labels | str | None, options: LabellingOptions
) -> ItemResult:
    if problem := _problem(labels):
        return failed(item, problem)
    if second is not None and (problem := _problem(second)):
        return failed(item, f"by {options.agree}: {problem}")
    assert isinstance(labels, Labels)
    assert not isinstance(second, str)
    facts: dict[str, Any] = {}
    if labels.forces is not None:
        facts["max_force"] = labels.max_force
    if labels.ignored:
        facts["ignored"] = labels.ignored
    if labels.gap is not None and np.isfinite(labels.gap):
        facts["gap"] = labels.gap
    if second is not None:
        facts["difference"] = difference(labels, second)
        if options.relative_difference is not None:
            part = options.relative_difference
            facts["difference_beyond"] = difference(labels, second, part)
    if objection := _objection(facts, options):
        return ItemResult(item, "rejected", reason=objection, facts=facts)
    if options.hessian is None:
        frames = (frame_of(item, labels, {}),)
        return ItemResult(item, "done", frames, matrix=labels.hamiltonian, facts=facts)
    try:
        return _with_hessian(item, labels, facts, options)
    except Exception as error:  # calculators raise anything
        return failed(item, error)


def _problem(labels: Labels | str) -> str:
    return labels if isinstance(labels, str) else labels.fault()


def difference(first: Labels, second: Labels, part: float = 0.0) -> float:
    """Return the largest difference of the forces on an atom, less a part of the first, eV/Å."""
    assert first.forces is not None
    assert second.forces is not None
    differences = np.linalg.norm(first.forces - second.forces, axis=1)
    return float((differences - part * np.linalg.norm(first.forces, axis=1)).max())


def _objection(facts: dict[str, Any], options: LabellingOptions) -> str:
    """Return which filter rejects a structure, or nothing."""
    part = options.relative_difference
    counted = "difference" if part is None else "difference_beyond"
    differ = "the models' forces differ by"
    if part is not None:
        differ = f"the models' forces differ, beyond {part:.4g} of them, by"
    limits = {
        "max_force": (options.max_force, "the largest force", "eV/Å"),
        counted: (options.max_difference, differ, "eV/Å"),
        "asymmetry": (options.max_asymmetry, "the Hessian's mean asymmetry", "eV/Å²"),
    }
    for name, (limit, what, unit) in limits.items():
        # Written so that NaN, which no comparison fulfils, is rejected too.
        if limit is not None and name in facts and not facts[name] <= limit:
            return f"{what} {facts[name]:.4g} {unit}, above {limit:g}"
    if options.min_gap is not None and facts.get("gap", math.inf) < options.min_gap:
        return f"the orbitals' gap {facts['gap']:.4g} eV, below {options.min_gap:g}"
    return ""


def _with_hessian(
    item: Item, labels: Labels, facts: dict[str, Any], options: LabellingOptions
) -> ItemResult:
    hessian, more = hessian_of(load_engine(spec_of(options)), item.content, options)
    if not np.isfinite(hessian).all():
        return failed(item, "Hessian not finite")
    facts = facts | more
    if objection := _objection(facts, options):
        return ItemResult(item, "rejected", reason=objection, facts=facts)
    matrix = hessian.astype(HESSIAN_TYPE)
    return ItemResult(item, "done", (frame_of(item, labels, more),), matrix=matrix, facts=facts)


def hessian_of(
    engine: Engine, atoms: Atoms, options: LabellingOptions
) -> tuple[Array, dict[str, float]]:
    """Return the symmetric Hessian [3N, 3N] in eV/Å², and how asymmetric it was."""
    if options.hessian == "autograd":
        return engine.exact_hessian(atoms), {}
    raw = engine.difference_hessian(atoms, options.step or STEP)
    hessian, mean, largest = symmetrised(raw)
    return hessian, {"asymmetry": mean, "max_asymmetry": largest}


def frame_of(item: Item, labels: Labels, facts: dict[str, float]) -> Atoms:
    """Return a structure with its labels where they are looked for first, and no older ones."""
    atoms = item.content
    frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    kept = {k: v for k, v in atoms.info.items() if not describes_labels(k) and _is_simple(v)}
    frame.info = {**kept, "labelled_from": item.source, "REF_energy": labels.energy}
    frame.info |= {f"hessian_{name}": value for name, value in facts.items()}
    if labels.forces is not None:
        frame.arrays["REF_forces"] = labels.forces
    if labels.ignored:
        frame.info["ignored"] = labels.ignored
    if labels.stress is not None:
        frame.info["REF_stress"] = labels.stress.reshape(9)
    if labels.dipole is not None:
        frame.info["REF_dipole"] = labels.dipole
    if labels.charges is not None:
        frame.arrays["REF_charges"] = labels.charges
    return frame


def _is_simple(value: Any) -> bool:
    return isinstance(value, str | bool | int | float | np.number | np.bool_)
