"""Second derivatives learnt from pairs of structures a small step apart."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from matkit.builders import PerturbOptions, perturb
from matkit.data.dataset import read_dataset
from matkit.data.response_pairs import pair_numbers, pairs_of, steps
from matkit.errors import TrainingError
from matkit.interfaces import Properties
from matkit.options import build
from matkit.train.batching import Batches, weighted
from matkit.train.losses import structure_losses
from matkit.train.options import LossOptions, TrainOptions
from matkit.train.run import train
from matkit.train.terms import force_response, interaction, stress_response
from tests.train.labelled import TINY, frames, labelled_file

STEP, STRAIN = 0.01, 0.004


def crystal():
    atoms = bulk("Cu", "fcc", a=3.7, cubic=True)
    atoms.symbols[0] = "Au"
    return atoms


def made(tmp_path, **changes):
    """Labelled pairs that `matkit data perturb` makes, between other structures."""
    write(tmp_path / "crystal.extxyz", crystal())
    nothing = {"rattle": [0.05], "volume": [], "shear": [], "vacancies": 0, "substitutions": 0}
    nothing |= {"surfaces": 0, "isolated": False, "dimer_points": 0}
    nothing |= {"response": [STEP, STEP], "response_strain": [STRAIN]} | changes
    options = {"struct": [str(tmp_path / "crystal.extxyz")], "out": str(tmp_path / "made")}
    built = perturb(PerturbOptions(**options, **nothing))
    assert built.failed == 0
    atoms = read(tmp_path / "made" / "perturbed.extxyz", ":")
    for one in atoms:
        one.calc = EMT()
        one.get_stress()
    return labelled_file(tmp_path / "pairs.extxyz", atoms)


def test_pairs_are_two_successive_structures_on_both_sides(tmp_path):
    dataset = read_dataset(made(tmp_path))
    assert dataset.config_types.count("response") == 6
    numbers = pair_numbers(dataset).tolist()
    assert numbers == [-1, -1, 2, 2, 4, 4, 6, 6]
    batch = weighted(dataset, {}).index([3, 0, 2, 7, 1, 6])
    assert pairs_of(batch).tolist() == [[0, 2], [3, 5]]
    positions = dataset.structures.positions.view(8, 4, 3)
    middle = torch.as_tensor(crystal().positions)
    torch.testing.assert_close((positions[2] + positions[3]) / 2, middle)
    whole = weighted(dataset, {})
    found = steps(whole, pairs_of(whole)).tolist()
    moved = (positions[3] - positions[2]).square().sum(1).mean().sqrt()
    assert found[0] == pytest.approx(float(moved))
    assert 0.5 * STEP < found[0] / 2 < 2 * STEP
    assert STRAIN <= found[2] / 2 <= np.sqrt(3) * STRAIN


def test_what_is_no_pair(tmp_path):
    atoms = [crystal() for _ in range(6)]
    for one in atoms:
        one.info["config_type"] = "response"
        one.calc = EMT()
        one.get_stress()
    atoms[1].positions[0] += 1.5  # far
    atoms[2].symbols[1] = "Ag"  # another crystal, and alone in the end
    atoms[4].set_cell(atoms[3].cell * 1.001, scale_atoms=True)
    for one in atoms:
        one.get_stress()
    dataset = read_dataset(labelled_file(tmp_path / "a.extxyz", atoms))
    assert pair_numbers(dataset).tolist() == [-1, -1, -1, 3, 3, -1]


def test_responses_are_hessians_and_elastic_constants_times_a_direction(tmp_path):
    """Of a quadratic energy whose second derivatives are off by a known change."""
    dataset = read_dataset(made(tmp_path))
    target = weighted(dataset, {})
    generator = torch.Generator().manual_seed(0)
    hessian = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    at_rest = torch.as_tensor(crystal().positions).flatten()
    moved = target.positions.view(8, 12) - at_rest
    wrong = target.atom["forces"] - (moved @ hessian).view(-1, 3)
    found = force_response.loss(Properties(forces=wrong), target)
    for first in (2, 4):
        direction = moved[first + 1] - moved[first]
        step = direction.view(4, 3).square().sum(1).mean().sqrt()
        expected = (direction @ hessian / step).view(4, 3).norm(dim=1).mean()
        assert float(found[first]) == pytest.approx(float(expected), rel=1e-6)
    assert found[[0, 1, 3, 5, 7]].abs().max() == 0

    stiffness = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    cell = torch.as_tensor(crystal().cell.array)
    strain = torch.linalg.solve(cell.expand(8, 3, 3), target.cell) - torch.eye(3)
    off = target.system["stress"] + (strain.flatten(1) @ stiffness).view(8, 3, 3)
    found = stress_response.loss(Properties(stress=off), target)
    expected = (2 * strain[7].flatten() @ stiffness).abs().mean() / steps(target, pairs_of(target))[
        2
    ]
    assert float(found[6]) == pytest.approx(float(expected), rel=1e-3)
    assert stress_response.labelled(target).nonzero().flatten().tolist() == [2, 4, 6]


def test_an_exact_model_has_no_error_whatever_constant_is_added(tmp_path):
    target = weighted(read_dataset(made(tmp_path)), {})
    prediction = Properties(
        energy=target.system["energy"],
        forces=target.atom["forces"] + 0.1,
        stress=target.system["stress"],
    )
    options = build(LossOptions, {"extra_losses": {"force_response": 1.0, "stress_response": 1.0}})
    losses = structure_losses(prediction, target, options)
    assert losses["force_response"].max() < 1e-4
    assert losses["stress_response"].max() == 0
    assert losses["forces"].min() > 0


@pytest.mark.parametrize("seed", [None, 0])
def test_pairs_come_in_one_batch(seed):
    pairs = np.array([-1, 1, 1, -1, 4, 4, -1, 7, 7])
    for size in (1, 2, 3):
        batches = list(Batches(np.ones(9), size, seed=seed, pairs=pairs))
        assert sorted(i for batch in batches for i in batch) == list(range(9))
        assert all(any({i, i + 1} <= {*batch} for batch in batches) for i in (1, 4, 7))
        assert max(map(len, batches)) == max(2, size)


def test_a_training_learns_responses(tmp_path):
    pairs = made(tmp_path, response=[STEP] * 2, response_strain=[STRAIN] * 2)
    options = {
        "train_file": [pairs, labelled_file(tmp_path / "more.xyz", frames(4))],
        "model": TINY,
        "work_dir": str(tmp_path),
        "max_num_epochs": 5,
        "lr": 0.05,
        "batch_size": 4,
        "valid_fraction": 0,
        "report": False,
        "stress_weight": 1.0,
        "extra_losses": {"force_response": 1.0, "stress_response": 1.0},
    }
    history = train(build(TrainOptions, options)).history
    for name in ("train_force_response", "train_stress_response"):
        assert history[-1][name] < 0.7 * history[0][name]


def test_a_set_without_pairs_is_refused(tmp_path):
    options = {
        "train_file": labelled_file(tmp_path / "train.xyz", frames(6)),
        "model": TINY,
        "work_dir": str(tmp_path),
        "extra_losses": {"force_response": 1.0},
    }
    with pytest.raises(TrainingError, match="force_response of extra_losses compares"):
        train(build(TrainOptions, options))


def complexes(tmp_path, kind="interaction"):
    """Two dimers of copper beside each other and apart, twice, after a structure alone."""
    found = [bulk("Cu", cubic=True)]
    for number, near in enumerate((3.0, 3.5)):
        for distance in (near, 30.0):
            atoms = Atoms("Cu4", [(0, 0, 0), (2.3, 0, 0), (0, distance, 0), (2.3, distance, 0)])
            atoms.info |= {"config_type": kind, "group": f"{number}"}
            found.append(atoms)
    for atoms in found:
        atoms.calc = EMT()
        atoms.get_forces()
    return labelled_file(tmp_path / "complexes.extxyz", found)


def test_interactions_are_what_it_takes_to_bring_molecules_apart(tmp_path):
    dataset = read_dataset(complexes(tmp_path))
    assert pair_numbers(dataset).tolist() == [-1, 1, 1, 3, 3]
    target = weighted(dataset, {})
    off = target.system["energy"] + torch.tensor([9.0, 1.0, 0.7, 2.0, 2.5], dtype=torch.float64)
    found = interaction.loss(Properties(energy=off), target)
    torch.testing.assert_close(found, torch.tensor([0, 0.3, 0, 0.5, 0], dtype=torch.float64))
    assert interaction.labelled(target).nonzero().flatten().tolist() == [1, 3]
    assert len(pairs_of(target)) == 0, "no responses"
    assert pair_numbers(read_dataset(complexes(tmp_path, "response"))).max() == -1, "far apart"


def test_responses_are_no_interactions(tmp_path):
    target = weighted(read_dataset(made(tmp_path)), {})
    assert len(pairs_of(target)) == 3
    assert len(pairs_of(target, near=False)) == 0
