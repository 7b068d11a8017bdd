"""Files of every format and family that was ever written give what they gave then.

Released files never change; ``<family>-<format>.safetensors`` is written once, with
``expected.json`` by the code of that time. A new format adds files and an upgrade.
"""

import json
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from safetensors import safe_open

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.interfaces import Condition, Generator, Potential
from matkit.models import checkpoint
from matkit.models.building import model_names
from matkit.models.upgrades import FORMAT_VERSION

FOLDER = Path(__file__).parent / "released"
FILES = sorted(FOLDER.glob("*.safetensors"))
# Formats that the families which are younger than the first one began with.
FIRST = {
    "faenet": 2,
    "hotpp": 2,
    "symmetrized": 2,
    "transip": 2,
    "mace": 2,
    "moleculeflow": 2,
    "edm": 2,
    "wyformer": 2,
    "cdvae": 2,
    "qhnet": 2,
    "mpnn": 2,
    "readout": 2,
}
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
MATRICES = [path for path in FILES if path.stem.startswith("qhnet")]
# What networks predict that have neither energies nor matrices.
OTHERS = {"mpnn-2": "features", "readout-2": "targets"}
POTENTIALS = [
    path
    for path in FILES
    if checkpoint.kind_of(path) == "potential" and path not in MATRICES and path.stem not in OTHERS
]
GENERATORS = [path for path in FILES if checkpoint.kind_of(path) == "generator"]


def close(got: torch.Tensor, wanted: list) -> bool:
    target = torch.tensor(wanted, dtype=torch.float64)
    return torch.allclose(got.detach(), target, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("path", POTENTIALS, ids=lambda path: path.stem)
def test_a_potential_has_the_energies_of_its_time(path):
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    model = force_field(checkpoint.load(path)[0]).double().eval()
    model.analytic = False
    result = model(model.featurize(from_ase(atoms)))
    expected = EXPECTED[path.stem.partition("-")[0]]
    assert close(result["energy"], [expected["energy"]])
    assert close(result["forces"], expected["forces"])


@pytest.mark.parametrize("path", MATRICES, ids=lambda path: path.stem)
def test_a_network_of_matrices_has_the_trace_and_norm_of_its_time(path):
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    model = checkpoint.load(path)[0].double().eval()
    (matrix,) = model(model.featurize(from_ase(atoms)))["hamiltonian"].dense()
    expected = EXPECTED["qhnet"]
    assert close(matrix.trace(), expected["trace"])
    assert close(matrix.norm(), expected["norm"])


@pytest.mark.parametrize("stem", OTHERS)
def test_a_network_without_energies_predicts_what_it_did_at_its_time(stem):
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    model = checkpoint.load(FOLDER / f"{stem}.safetensors")[0].double().eval()
    rows = model(model.featurize(from_ase(atoms)))[OTHERS[stem]]
    assert close(rows.sum(0), EXPECTED[stem.partition("-")[0]][OTHERS[stem]])


@pytest.mark.parametrize("path", GENERATORS, ids=lambda path: path.stem)
def test_a_generator_draws_what_it_drew_at_its_time(path):
    generator = checkpoint.load(path, Generator)[0].double()
    expected = EXPECTED[path.stem.partition("-")[0]]
    if generator.domain == "crystal":
        told = "species" in generator.inputs
        species = torch.tensor([11, 17]) if told else None
        condition = Condition(n_atoms=torch.tensor([2]), species=species)
    else:
        condition = Condition(n_atoms=torch.tensor([5]))
    made = generator.sample(condition, 5, torch.tensor([3]))
    if generator.outputs == "blueprint":
        assert {name: getattr(made, name).tolist() for name in expected} == expected
        return
    if generator.domain == "crystal":
        assert close(made.cell[0], expected["cell"])
    else:
        assert made.species.tolist() == expected["species"]
    assert close(made.positions, expected["positions"])


def test_there_is_a_file_of_every_family_and_format():
    """Else nothing would notice that old files of a family cannot be read any more."""
    names = {*model_names(Potential), *model_names(Generator)}
    wanted = {f"{n}-{v}" for n in names for v in range(FIRST.get(n, 1), FORMAT_VERSION + 1)}
    assert {path.stem for path in FILES} >= wanted


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_of_the_format_that_its_name_says(path):
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["matkit"])
    assert described["format_version"] == int(path.stem.rpartition("-")[2])


def test_saving_an_upgraded_file_writes_the_present_format(tmp_path):
    network, metadata = checkpoint.load(FOLDER / "hip-1.safetensors")
    path = checkpoint.save(network, tmp_path / "m.safetensors", metadata["card"])
    again, written = checkpoint.load(path)
    assert written["format_version"] == FORMAT_VERSION
    assert "scale" not in written["hyperparameters"]
    assert not {"scale", "shift"} & written["hyperparameters"]["backbone"].keys()
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in again.state_dict().items())
