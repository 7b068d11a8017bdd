"""MACE's files: two small ones that mace-torch wrote (see mace_peer.py), and what is refused."""

import copy
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from ase import Atoms

import matkit
from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.errors import CheckpointError, ConfigError, UnknownElementError
from matkit.models import checkpoint, pickled
from matkit.models.foreign import mace, mace_weights
from matkit.models.foreign.modules import MOST_MODULES, flattened
from matkit.models.safe_unpickle import Opaque, read_torch_zip

ARCHIVE = Path(__file__).parent / "mace_small.tar.xz"
# Of eV/atom, eV/Å (at forces up to 40 eV/Å) and eV/Å³: mace-torch rounds constants to single
# precision with the weights.
TOLERANCES = {"energy": 1e-7, "forces": 1e-5, "stress": 1e-8}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mace")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def numbers(files):
    return read_numbers(files)


def read_numbers(folder):
    return json.loads((folder / "numbers.json").read_text())


def deviations(network, numbers, name, head):
    model = force_field(copy.deepcopy(network).double()).eval()
    worst = dict.fromkeys(TOLERANCES, 0.0)
    for system, described in numbers["systems"].items():
        structures = from_ase(Atoms(**described))
        found = model(model.featurize(structures))
        for key, value in numbers["models"][name][head][system].items():
            error = (found[key][0] if key != "forces" else found[key]) - torch.tensor(
                value, dtype=torch.float64
            )
            size = len(described["numbers"]) if key == "energy" else 1
            worst[key] = max(worst[key], float(error.abs().max()) / size)
    return worst


@pytest.mark.parametrize("head", ["first", "second"])
def test_a_pickled_model_gives_the_numbers_of_mace(files, numbers, head):
    """Densities, Agnesi's transform, repulsion, two heads."""
    network, card = pickled.convert(files / "small-heads.model", head)
    found = deviations(network, numbers, "small-heads", head)
    assert all(found[key] <= TOLERANCES[key] for key in found), found
    assert network.dtype == torch.float32
    assert card["head"] == head
    assert "first, second" in card["notes"]


def test_weights_with_settings_beside_them_give_the_numbers_of_mace(files, numbers):
    network, card = pickled.convert(files / "small-weights.pt")
    found = deviations(network, numbers, "small", "Default")
    assert all(found[key] <= TOLERANCES[key] for key in found), found
    assert "notes" not in card


def test_a_checkpoint_of_training_holds_the_same_weights(files, tmp_path):
    state = torch.load(files / "small-weights.pt", weights_only=True)
    path = tmp_path / "epoch-1.pt"
    torch.save({"model": state, "epoch": 1}, path)
    path.with_suffix(".yaml").write_text("avg_num_neighbors: 12.5\n")
    one, two = (pickled.convert(p)[0].state_dict() for p in (path, files / "small-weights.pt"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_large_files_of_the_same_name_are_not_read_as_settings(tmp_path):
    path = tmp_path / "medium.model"
    path.with_suffix(".yaml").write_text("heads: [one]\n")
    path.with_suffix(".json").write_text("[" + "0.0, " * 50_000 + "0.0]")  # as of symmetrix
    assert mace.settings_files(path) == [path.with_suffix(".yaml")]


def test_double_precision_is_kept(files, tmp_path):
    state = torch.load(files / "small-weights.pt", weights_only=True)
    path = tmp_path / "double.pt"
    torch.save({k: v.double() if v.is_floating_point() else v for k, v in state.items()}, path)
    path.with_suffix(".yaml").write_text("avg_num_neighbors: 12.5\n")
    assert pickled.convert(path)[0].dtype == torch.float64


def test_a_calculator_loads_the_file_and_head(files):
    energies = []
    for head in ("first", "second"):
        atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1.0]])
        atoms.calc = matkit.load_calculator(files / "small-heads.model", device="cpu", head=head)
        energies.append(atoms.get_potential_energy())
    assert abs(energies[0] - energies[1]) > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_calculator_computes_in_either_precision(files, dtype):
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1.0]])
    name = files / "small-weights.pt"
    atoms.calc = matkit.load_calculator(name, device="cpu", dtype=dtype)
    reference = matkit.load_calculator(name, device="cpu", dtype="float64")
    assert atoms.get_potential_energy() == pytest.approx(
        reference.get_potential_energy(atoms), abs=1e-5
    )


def test_an_unknown_element_is_refused(files):
    atoms = Atoms("OAu", [[0, 0, 0], [0, 0, 2.0]])
    atoms.calc = matkit.load_calculator(files / "small-weights.pt", device="cpu")
    with pytest.raises(UnknownElementError, match="Au"):
        atoms.get_potential_energy()


def test_a_conversion_is_kept(files, monkeypatch, tmp_path):
    monkeypatch.setenv("MATKIT_CACHE", str(tmp_path))
    first = pickled.converted_file(files / "small-weights.pt")
    monkeypatch.setattr(pickled, "convert", None)
    assert pickled.converted_file(files / "small-weights.pt") == first
    assert checkpoint.load(first)[1]["card"]["head"] == "Default"


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("MACE-OFF23_small", "ASL"),
        ("mace-omat-0-medium", "ASL"),
        ("mace-mpa-0-medium", "MIT"),
        ("2023-12-03-mace-128-L1_epoch-199", "MIT"),
        ("mine", None),
    ],
)
def test_the_licence_of_a_release_is_told_by_its_name(files, tmp_path, name, licence):
    path = tmp_path / f"{name}.pt"
    path.write_bytes((files / "small-weights.pt").read_bytes())
    path.with_suffix(".yaml").write_text("avg_num_neighbors: 12.5\n")
    text = pickled.convert(path)[1].get("licence")
    assert text is None if licence is None else text.startswith(licence)


def test_one_of_several_heads_must_be_named(files):
    with pytest.raises(ConfigError, match="heads first, second: say which"):
        pickled.convert(files / "small-heads.model")
    with pytest.raises(ConfigError, match="no head 'firsts'. Did you mean 'first'"):
        pickled.convert(files / "small-heads.model", "firsts")


def test_a_head_of_a_file_without_heads_is_refused(files, tmp_path):
    path = checkpoint.save(
        pickled.convert(files / "small-weights.pt")[0], tmp_path / "a.safetensors"
    )
    with pytest.raises(ConfigError, match="Leave it out"):
        matkit.load_calculator(path, head="first")


def test_weights_without_settings_say_what_is_missing(files, tmp_path):
    path = tmp_path / "alone.pt"
    path.write_bytes((files / "small-weights.pt").read_bytes())
    with pytest.raises(CheckpointError, match=r"alone.yaml with a line such as `avg_num_neighbors"):
        pickled.convert(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("neighbors: 3", "table of avg_num_neighbors and heads"),
        ("3", "table of avg_num_neighbors and heads"),
        ("{", "table of avg_num_neighbors and heads"),
        ("avg_num_neighbors: -1", "greater than 0"),
        ("heads: [a, b]", "has 1 heads"),
    ],
)
def test_settings_beside_weights_are_checked(files, tmp_path, text, message):
    path = tmp_path / "weights.pt"
    path.write_bytes((files / "small-weights.pt").read_bytes())
    path.with_suffix(".yaml").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        pickled.convert(path)


def test_files_that_are_no_models_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    with pytest.raises(CheckpointError, match="No model file"):
        pickled.convert(path)
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(CheckpointError, match="no file of PyTorch"):
        pickled.convert(path)
    path.write_bytes(b"\x80\x02}q.")
    with pytest.raises(CheckpointError, match=r"before PyTorch 1\.6"):
        pickled.convert(path)
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="no MACE model"):
        pickled.convert(path)


def test_a_compiled_model_is_refused(tmp_path):
    path = tmp_path / "a_compiled.model"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"")
        archive.writestr("a/code/__torch__.py", b"")
    with pytest.raises(CheckpointError, match="compiled"):
        pickled.convert(path)


# What a module of a pickled model may have changed to, and what is said.
CHANGES = {
    "unknown model": (("", "source", "mace.modules.models.AtomicDipolesMACE"), "AtomicDipolesMACE"),
    "unknown block": (
        ("interactions.1", "source", "mace.modules.blocks.RealAgnosticAttResidualInteractionBlock"),
        r"interactions.1 \(RealAgnosticAttResidualInteractionBlock\)",
    ),
    "LoRA": (("products.0.linear", "source", "mace.modules.lora.LoRAO3Linear"), "LoRAO3Linear"),
    "switch": (("", "use_so3", True), "use_so3"),
    "activation": (
        (
            "readouts.1.non_linearity.acts.0",
            "f",
            type("Opaque", (Opaque,), {"source": "torch.tanh"}),
        ),
        r"activation torch.tanh at readouts.1.non_linearity.acts.0",
    ),
    "attribute": (("", "heads", 3), "not a MACE model that matkit understands"),
    "parity": (("interactions.1", "hidden_irreps", "2x0e+2x1e"), "unnatural parity"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_read_is_said(files, monkeypatch, name):
    (place, key, value), message = CHANGES[name]
    root = read_torch_zip(files / "small-heads.model")
    module = root
    for part in filter(None, place.split(".")):
        module = module.attributes["_modules"][part]
    if key == "source":
        module.__class__ = type("Opaque", (Opaque,), {"source": value})
    else:
        module.attributes[key] = value
    monkeypatch.setattr(mace, "read_torch_zip", lambda path: root)
    with pytest.raises(CheckpointError, match=message):
        mace.convert(files / "small-heads.model", "first")


def test_layers_with_different_numbers_of_neighbours_are_refused(files, monkeypatch):
    """Of modules only, as each layer has its own there."""
    root = read_torch_zip(files / "small-heads.model")
    layers = root.attributes["_modules"]["interactions"].attributes["_modules"]
    for number, layer in enumerate(layers.values()):
        del layer.attributes["_modules"]["density_fn"]
        layer.attributes["avg_num_neighbors"] = 10.0 + number
    monkeypatch.setattr(mace, "read_torch_zip", lambda path: root)
    with pytest.raises(CheckpointError, match=r"one mean number of neighbours.*10.0, 11.0"):
        mace.read(files / "small-heads.model")


def changed_weights(files, tmp_path, **changes):
    state = torch.load(files / "small-weights.pt", weights_only=True)
    path = tmp_path / "changed.pt"
    torch.save(state | {name.replace("__", "."): value for name, value in changes.items()}, path)
    path.with_suffix(".yaml").write_text("avg_num_neighbors: 12.5\n")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interactions__0__lora_A": torch.ones(2)}, "not read: interactions.0.lora_A"),
        ({"radial_embedding__cutoff_fn__p": torch.ones(2)}, "not a MACE model that"),
        (
            {"products__0__linear__weight": torch.ones(4)},
            "does not fit the network|not a MACE model",
        ),
        ({"products__0__linear__weight": torch.full((8,), torch.nan)}, "finite"),
        ({"interactions__0__linear__weight": torch.ones(24)}, "harmonics up to degree 5"),
        ({"radial_embedding__distance_transform__alpha": torch.tensor(3.0)}, "alpha = 3"),
    ],
)
def test_weights_that_do_not_fit_are_refused(files, tmp_path, changes, message):
    with pytest.raises(CheckpointError, match=message):
        pickled.convert(changed_weights(files, tmp_path, **changes))


def test_layers_of_different_kinds_after_the_first_are_refused(files, monkeypatch):
    kinds = iter(["plain", "residual", "density"])
    monkeypatch.setattr(mace_weights, "_interaction", lambda *_: next(kinds))
    weights = mace.read(files / "small-weights.pt").weights
    weights._tensors["interactions.2.linear_up.weight"] = torch.zeros(4)
    with pytest.raises(CheckpointError, match="layers of one kind"):
        mace_weights.hyperparameters(weights, 12.5, 0)


def test_endless_modules_are_refused(tmp_path):
    root = Opaque()
    root.attributes = {"_modules": {"a": root}}
    with pytest.raises(CheckpointError, match=f"more than {MOST_MODULES:,} modules"):
        flattened(root, tmp_path)
