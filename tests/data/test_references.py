import json
import logging

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.data.dataset import read_dataset
from matkit.data.references import ABSURD, fit_e0s, fit_references, residuals, resolve_e0s
from matkit.errors import DataError, UnknownNameError
from tests.data.sets import save

TRUE = {1: -13.5, 6: -1029.0, 8: -2041.5}


def dataset(tmp_path, names=("H2O", "CH4", "CO2", "CO", "H2"), noise=0.0, extra=()):
    rng, frames = np.random.default_rng(0), []
    for name in names:
        atoms = molecule(name)
        atoms.info["REF_energy"] = sum(TRUE[z] for z in atoms.numbers) + noise * rng.normal()
        frames.append(atoms)
    return read_dataset(save(tmp_path / "a.extxyz", [*frames, *extra]))


def isolated(*numbers):
    return [Atoms([z], info={"REF_energy": TRUE[z]}) for z in numbers]


def test_a_sum_of_atoms_is_fitted_exactly(tmp_path):
    found = fit_e0s(dataset(tmp_path))
    assert found == pytest.approx(TRUE, abs=1e-8)


def test_the_fit_is_that_of_numpy(tmp_path):
    data = dataset(tmp_path, noise=1.0)
    counts = np.array([[2, 0, 1], [4, 1, 0], [0, 1, 2], [0, 1, 1], [2, 0, 0]])
    energies = data.structures.system["energy"]
    expected = np.linalg.lstsq(counts, energies.numpy())[0]
    fit = fit_references(data, energies)
    assert list(fit.e0s.values()) == pytest.approx(expected)
    rest = (energies.numpy() - counts @ expected) / counts.sum(1)
    assert np.allclose(fit.residuals.numpy(), rest)
    assert fit.determined
    assert torch.allclose(residuals(data, fit.e0s), fit.residuals)


def test_one_composition_gives_the_smallest_energies_and_a_warning(tmp_path, caplog):
    data = dataset(tmp_path, ["H2O", "H2O"])
    with caplog.at_level(logging.WARNING):
        found = fit_e0s(data)
    total = 2 * TRUE[1] + TRUE[8]
    # Minimum norm: along the composition (2, 1).
    assert found == pytest.approx({1: total * 2 / 5, 8: total / 5})
    assert "do not determine the reference energies of H, O" in caplog.text


def test_structures_without_energy_are_left_out(tmp_path):
    data = dataset(tmp_path, extra=[molecule("NH3")])
    fit = fit_references(data, data.structures.system["energy"])
    assert fit.e0s == pytest.approx(TRUE, abs=1e-8)
    assert fit.residuals.isnan().tolist() == [False] * 5 + [True]


def test_nothing_to_fit(tmp_path):
    data = read_dataset(save(tmp_path / "a.xyz", [molecule("H2O")]))
    with pytest.raises(DataError, match="Expected structures with energies"):
        fit_e0s(data)


@pytest.mark.parametrize("spec", ["isolated", "IsolatedAtom"])
def test_isolated_atoms(tmp_path, spec):
    assert resolve_e0s(spec, dataset(tmp_path, extra=isolated(1, 6, 8))) == TRUE


@pytest.mark.parametrize("spec", ["fit", "average"])
def test_fit(tmp_path, spec):
    assert resolve_e0s(spec, dataset(tmp_path)) == pytest.approx(TRUE, abs=1e-8)


def test_foundation(tmp_path):
    data = dataset(tmp_path)
    assert resolve_e0s("foundation", data, {**TRUE, 92: 0.0}) == TRUE
    with pytest.raises(DataError, match="there is no such model"):
        resolve_e0s("foundation", data)


def test_tables(tmp_path):
    data, path = dataset(tmp_path), tmp_path / "e0s.json"
    path.write_text(json.dumps({"H": -13.5, "C": -1029.0, "O": -2041.5}))
    for spec in (str(path), TRUE, {"H": -13.5, "6": -1029, 8: -2041.5}, str(TRUE)):
        assert resolve_e0s(spec, data) == TRUE


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("fitt", UnknownNameError, "Unknown E0s 'fitt'.*Did you mean 'fit'"),
        ("{1: -13.6", DataError, "Cannot read the reference energies"),
        ("{1, 2}", DataError, "Expected a table"),
        ({"Xx": 1.0}, UnknownNameError, "'Xx' .* is not an element"),
        ({200: 1.0}, UnknownNameError, "200 .* is not an element"),
        ({"H": "low"}, DataError, "Expected the E0 of H in eV, got 'low'"),
        ({"H": -13.5}, DataError, "No reference energy .* for C, O; there are H"),
        ("isolated", DataError, "No reference energy .* for H, C, O; there are none"),
        ({1: 0, 6: 0, 8: 0}, DataError, r"4 of 5 energies are more than 50 eV/atom.*a.extxyz\[0\]"),
    ],
)
def test_bad_tables(tmp_path, spec, error, message):
    with pytest.raises(error, match=message):
        resolve_e0s(spec, dataset(tmp_path))


def test_the_limit_of_absurdity(tmp_path):
    shifted = {z: energy + 0.99 * ABSURD for z, energy in TRUE.items()}
    assert resolve_e0s(shifted, dataset(tmp_path)) == shifted
