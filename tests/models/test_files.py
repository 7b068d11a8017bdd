"""Model files that are damaged or were made to harm: always one message, and nothing happens."""

import copy
import gc
import json
import weakref

import pytest
import safetensors
import safetensors.torch
import torch
from ase.build import bulk

from matkit import load_calculator
from matkit.errors import CheckpointError, MatkitError
from matkit.interfaces import Generator, Potential
from matkit.models import checkpoint
from matkit.models.cards import model_card
from matkit.models.files import NoLargerThan
from matkit.models.shipped import shipped
from tests.potentials.test_nequip import TINY


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Description and weights of a small model."""
    path = tmp_path_factory.mktemp("model") / "good.safetensors"
    checkpoint.save(checkpoint.build("nequip", TINY), path, {"licence": "MIT"})
    with safetensors.safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["matkit"]), tensors


def written(tmp_path, text, tensors):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(tensors, path, {"matkit": text})
    return path


@pytest.mark.parametrize(
    "text",
    [
        "{broken",
        "[]",
        "3",
        "null",
        "{}",
        "",
        "[" * 100_000 + "]" * 100_000,
        '{"format_version": NaN}',
        '{"format_version": 1, "model": "nequip"}',
        '{"a": ' * 5000 + "1" + "}" * 5000,
        "9" * 10_000,
        '"\\ud800"',
    ],
    ids=lambda text: text[:12],
)
def test_descriptions_that_are_none(tmp_path, good, text):
    path = written(tmp_path, text, good[1])
    with pytest.raises(CheckpointError, match="is damaged or was not written by matkit"):
        checkpoint.load(path)
    with pytest.raises(MatkitError):
        model_card(path)


@pytest.mark.parametrize(
    "changes",
    [
        *({"format_version": v} for v in ("x", None, -1, -(10**18), 1.5, [], True)),
        *(
            {"model": v}
            for v in ("os", "../nequip", "__init__", "matkit.cli", "", None, 3, [], "a\0")
        ),
        {"hyperparameters": []},
        {"hyperparameters": None},
        {"card": [1]},
        {"card": None},
        {"card": "x"},
        {"elements": "H"},
        {"cutoff": 99.0},
        {"cutoff": -1},
        {"kind": "generator"},
        {"kind": 3},
    ],
    ids=str,
)
def test_descriptions_with_something_else_in_them(tmp_path, good, changes):
    with pytest.raises(MatkitError):
        checkpoint.load(written(tmp_path, json.dumps(good[0] | changes), good[1]))


BAD = (-1, 0, 10**9, 10**18, "x", None, [], {}, [10**9], [-1], [[]], float("nan"), float("inf"))


def test_hyperparameters_of_any_other_kind_are_refused_or_fit(tmp_path, good):
    """No traceback, no hang, and no network that is not the one of the weights."""
    description, tensors = good
    wanted = checkpoint.load(written(tmp_path, json.dumps(description), tensors))[0]
    for name, value in description["hyperparameters"].items():
        for bad in BAD:
            changed = copy.deepcopy(description)
            changed["hyperparameters"][name] = bad
            path = written(tmp_path, json.dumps(changed), tensors)
            try:
                network = checkpoint.load(path)[0]
            except MatkitError:
                continue
            assert network.state_dict().keys() == wanted.state_dict().keys(), (name, bad, value)


def test_a_network_larger_than_its_weights_is_never_made(tmp_path, good):
    description, tensors = copy.deepcopy(good[0]), good[1]
    description["hyperparameters"]["readout_hidden"] = 99_999
    description["hyperparameters"]["radial_hidden"] = [99_999, 99_999]
    path = written(tmp_path, json.dumps(description), tensors)
    with pytest.raises(CheckpointError, match="much larger than its weights"):
        checkpoint.load(path)


def test_a_network_of_endless_layers_is_never_made(tmp_path):
    def endless():
        with NoLargerThan({}, tmp_path):
            while True:
                torch.empty(1)

    with pytest.raises(CheckpointError, match="much larger"):
        endless()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to(torch.int8), "of another kind"),
        (lambda t: t > 0, "of another kind"),
        (lambda t: t * float("nan"), "finite real numbers"),
        (lambda t: (t * float("inf")).bfloat16(), "finite real numbers"),
        (lambda t: t.to(torch.complex64), "finite real numbers"),
        (lambda t: t.double(), "a mixture"),
        (lambda t: t.reshape(-1)[:-1], "does not fit its own description"),
    ],
)
def test_weights_that_are_none(tmp_path, good, change, message):
    description, tensors = good
    name = max(tensors, key=lambda key: tensors[key].numel())
    changed = {**tensors, name: change(tensors[name]).contiguous()}
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(written(tmp_path, json.dumps(description), changed))


def test_texts_command_no_terminal(tmp_path, good):
    card = {"licence": "\x1b]0;pwned\x07\x1b[2Jevil", "notes": ["a\u202eb", {"\x9b": "ok\n"}]}
    path = written(tmp_path, json.dumps(good[0] | {"card": card}), good[1])
    assert checkpoint.load(path)[1]["card"]["licence"] == "]0;pwned[2Jevil"
    assert checkpoint.load(path)[1]["card"]["notes"] == ["ab", {"": "ok\n"}]


def test_a_file_without_a_card(tmp_path, good):
    description = {key: value for key, value in good[0].items() if key != "card"}
    assert model_card(written(tmp_path, json.dumps(description), good[1])).licence == "not stated"


def test_every_model_that_comes_with_matkit_passes():
    for path in shipped().values():
        generator = checkpoint.kind_of(path) == "generator"
        checkpoint.load(path, Generator if generator else Potential)


def test_a_calculator_is_freed_without_the_garbage_collector():
    calc = load_calculator()
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.calc = calc
    atoms.get_potential_energy()
    gone = [weakref.ref(calc), weakref.ref(calc.potentials[0].network)]
    gc.disable()
    try:
        atoms.calc = None
        del calc
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()
