import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from ase.build import bulk
from ase.io import write
from lightning.fabric import Fabric

from matkit.errors import CheckpointError, ConfigError, StructureError, TrainingError
from matkit.interfaces import Condition, Generator
from matkit.models import checkpoint
from matkit.train.bfloat16 import bfloat16_speed
from matkit.train.generator_network import (
    is_generator,
    known_generator,
    new_generator,
    trained_file,
)
from matkit.train.generator_sets import read_generator_sets
from matkit.train.generators import GeneratorObjective, train_generator
from matkit.train.session import Listener
from tests.generative.crystals import draw
from tests.train.crystal_files import DIFFUSION, FLOW, crystals, csv_file, quick_options
from tests.train.labelled import timeless


@pytest.fixture
def options(tmp_path):
    """Options of a run that takes a second."""
    return quick_options(tmp_path)


def weights(outcome):
    return checkpoint.load(outcome.model, Generator)[0].state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("model", [FLOW, DIFFUSION], ids=lambda model: model["name"])
def test_training_learns_and_leaves_everything(options, tmp_path, model):
    outcome = train_generator(options(model=model, max_num_epochs=40, lr=0.01, report=True))
    assert outcome.finished
    assert outcome.history[-1]["valid_loss"] < 0.8 * outcome.history[0]["valid_loss"]
    found = {path.name for path in outcome.folder.iterdir()}
    names = {"model.safetensors", "log.csv", "config.yaml", "facts.yaml", "checkpoint.pt"}
    assert found >= names | {"report.html", "metrics.json"}
    rows = list(csv.DictReader((outcome.folder / "log.csv").read_text().splitlines()))
    row = {key: float(value) for key, value in rows[-1].items()}
    assert row["valid_lattice"] + row["valid_coordinates"] == pytest.approx(row["valid_loss"])
    facts = yaml.safe_load((outcome.folder / "facts.yaml").read_text())
    assert facts["species"] == [8, 11, 22]
    assert facts["n_atoms"] == {2: 12, 6: 12}
    assert json.loads((outcome.folder / "metrics.json").read_text()) == outcome.metrics
    assert "data:image/png" in (outcome.folder / "report.html").read_text()
    generator, metadata = checkpoint.load(outcome.model, Generator)
    assert generator.max_atoms == 6
    assert metadata["card"]["n_atoms"] == {"2": 12, "6": 12}
    condition = Condition(n_atoms=torch.tensor([2]), species=torch.tensor([22, 8]))
    made = draw(generator, condition, 5, 0)
    assert made.species.tolist() == [22, 8]


def test_species_may_be_generated(options):
    outcome = train_generator(options(generates_species=True))
    generator = checkpoint.load(outcome.model, Generator)[0]
    assert generator.generates_species
    assert "valid_species" in outcome.history[0]


def test_the_data_decide_what_the_model_leaves_open(options):
    structures = _structures(options())
    found, facts = new_generator(options(), structures)
    assert found.recipe[1]["lattice"] == facts["lattice"] == found.constants(structures)["lattice"]
    published, _ = new_generator(options(model={**FLOW, "lattice": None}), structures)
    assert published.recipe[1]["lattice"] is None
    diffusion, _ = new_generator(options(model=DIFFUSION), structures)
    assert diffusion.species == found.species == (8, 11, 22)


def test_a_run_in_pieces_ends_with_the_same_weights(options):
    class StopError(Exception):
        pass

    def stop(epoch, batch, count):
        if (epoch, batch) == (1, 2):
            raise StopError

    whole = train_generator(options(name="whole"))
    changes = {"name": "pieces", "restart": "auto", "checkpoint_interval": 0}
    with pytest.raises(StopError):
        train_generator(options(**changes), Listener(step=stop))
    pieces = train_generator(options(**changes))
    assert same(weights(whole), weights(pieces))
    assert timeless(whole.history) == timeless(pieces.history)


KILLED = """
import os, sys, yaml
from matkit.options import build
from matkit.train.generator_network import (
    is_generator,
    known_generator,
    new_generator,
    trained_file,
)
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generators import train_generator
from matkit.train.session import Listener
def step(epoch, batch, count):
    if (epoch, batch) == (1, 2):
        os.kill(os.getpid(), 9)
options = build(GeneratorOptions, yaml.safe_load(open(sys.argv[1])))
train_generator(options, Listener(step=step))
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_epoch_changes_nothing(options, tmp_path):
    whole = train_generator(options(name="whole"))
    settings = options(name="killed", checkpoint_interval=0, restart="auto")
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(settings.model_dump()))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "options.yaml")]
    path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    killed = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    checkpoint.load(tmp_path / "killed" / "model.safetensors", Generator)  # the first epoch's
    assert same(weights(whole), weights(train_generator(settings)))


def test_a_run_does_not_go_on_with_other_properties(options):
    train_generator(options(max_num_epochs=1))
    with pytest.raises(CheckpointError, match=r"damaged or belongs to another model"):
        train_generator(options(max_num_epochs=1, properties="size", restart="auto"))


def test_validation_draws_the_same_noise_every_time_in_any_batches(options):
    generator = checkpoint.build("crystalflow", _hyperparameters(), Generator).eval().double()
    objective, fabric = GeneratorObjective(generator, options()), Fabric(accelerator="cpu")
    batch = _structures(options())
    a = objective.validate(generator, [batch], fabric)
    torch.manual_seed(17)
    b = objective.validate(generator, [batch.index([0, 1, 2]), batch.index([3, 4, 5])], fabric)
    assert a == pytest.approx(b, rel=1e-12)
    assert a["loss"] == pytest.approx(a["lattice"] + a["coordinates"], rel=1e-12)


def _hyperparameters():
    return {key: value for key, value in FLOW.items() if key != "name"} | {"species": [8, 11, 22]}


def _structures(options):
    from matkit.train.generator_sets import read_generator_sets

    return read_generator_sets(options, "crystal").train.structures.index(range(6))


def test_steps_draw_new_noise(options):
    generator = checkpoint.build("crystalflow", _hyperparameters(), Generator)
    objective, batch = GeneratorObjective(generator, options()), _structures(options())
    torch.manual_seed(1)
    first, second = (objective(batch).loss.detach() for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(objective(batch).loss.detach(), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("model", [FLOW, DIFFUSION], ids=lambda model: model["name"])
def test_mixed_precision_is_close(options, model):
    rest = {key: value for key, value in model.items() if key != "name"}
    generator = checkpoint.build(model["name"], {"species": [8, 11, 22], **rest}, Generator)
    losses = []
    for mixed in (False, True):
        torch.manual_seed(1)
        step = GeneratorObjective(generator, options(mixed_precision=mixed))(_structures(options()))
        assert step.loss.dtype == torch.float32
        losses.append(float(step.loss.detach()))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_losses_that_are_not_finite_name_the_crystals(options, tmp_path):
    bad = crystals(3)
    bad[1].set_cell(1e12 * bad[1].cell.array, scale_atoms=True)  # its Gram matrix overflows
    write(tmp_path / "bad.extxyz", bad)
    changes = {"model": DIFFUSION, "train_file": str(tmp_path / "bad.extxyz"), "cell": "given"}
    with pytest.raises(TrainingError, match=r"not a finite number in step 0.*bad.extxyz\[1\]\."):
        train_generator(options(**changes))


def test_a_dry_run_trains_nothing(options, tmp_path):
    notes = []
    outcome = train_generator(options(dry_run=True), Listener(note=notes.append))
    assert outcome.model is None
    assert not (tmp_path / "model").exists()
    assert "parameters; 12 steps of" in notes[-1]


def test_the_time_limit_stops_and_restart_goes_on(options):
    whole = train_generator(options(name="whole", max_num_epochs=8))
    part = train_generator(options(name="parts", max_num_epochs=8, max_time=1e-9))
    assert not part.finished
    rest = train_generator(options(name="parts", max_num_epochs=8, restart="auto"))
    assert same(weights(whole), weights(rest))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "crystalflo"}, "Unknown generator 'crystalflo'.*crystalflow"),
        ({"model": {"width": 8}}, "Expected `name`"),
        ({"model": {**FLOW, "depth": 8}}, "Cannot build 'crystalflow'.*depth"),
        ({"properties": ["gap"]}, "No crystal has the property 'gap'. There are: .*size"),
        ({"properties": ["same"]}, "same is 1 for all structures"),
    ],
)
def test_what_cannot_be_trained(options, tmp_path, changes, message):
    constant = crystals()
    for atoms in constant:
        atoms.info["same"] = 1.0
    path = csv_file(tmp_path / "constant.csv", constant, ("size", "same"))
    with pytest.raises(ConfigError, match=message):
        train_generator(options(train_file=path, valid_file=path, **changes))


def test_an_architecture_without_properties(options, monkeypatch):
    class Bare:
        def __init__(self, species, max_atoms):
            pass

    monkeypatch.setattr("matkit.models.building.model_class", lambda name, kind: Bare)
    with pytest.raises(ConfigError, match="'crystalflow' cannot be told properties"):
        train_generator(options(properties=["size"]))


def test_hyperparameters_that_exclude_the_data(options):
    with pytest.raises(StructureError, match="at most 4 atoms, got a crystal of 6"):
        train_generator(options(model={**FLOW, "max_atoms": 4}))


def test_a_trained_generator_learns_to_be_told_a_property(options, tmp_path):
    first = train_generator(options(name="first", max_num_epochs=1))
    path = csv_file(tmp_path / "sized.csv", crystals(), ("size",))
    changes = {"train_file": path, "valid_file": path, "properties": ["size"]}
    settings = options(model=str(first.model), name="told", max_num_epochs=1, **changes)
    structures = read_generator_sets(settings, "crystal").train.structures
    assert trained_file(settings) == first.model
    told, facts = known_generator(first.model, settings, structures)
    assert facts["begun_with"] == str(first.model)
    before, one = checkpoint.load(first.model, Generator)[0], structures.index([0])
    condition = Condition(n_atoms=one.n_atoms, species=one.species)
    asked = replace(condition, properties={"size": torch.ones(1)})
    for wanted in (condition, asked):  # it does not know yet what to make of it
        cells = (draw(*one, 2, 0).cell for one in ((told, wanted), (before, condition)))
        assert torch.allclose(*cells, rtol=1e-5)
    second = train_generator(settings)
    generator, metadata = checkpoint.load(second.model, Generator)
    assert generator.properties == ("size",)
    assert "size" in metadata["card"]["properties"]
    heard, plain = (draw(generator, one, 2, 0).cell for one in (asked, condition))
    assert not torch.equal(heard, plain)
    with pytest.raises(ConfigError, match="was trained with the properties size; ask for the same"):
        train_generator(options(model=str(second.model), name="third"))


def test_a_new_property_is_learnt_even_if_the_rest_gets_worse(options, tmp_path):
    """The model before training, deaf to the property, was kept as the better one."""
    first = train_generator(options(name="first", max_num_epochs=1))
    path = csv_file(tmp_path / "sized.csv", crystals(), ("size",))
    changes = {"train_file": path, "valid_file": path, "properties": ["size"], "lr": 1.0}
    second = train_generator(
        options(model=str(first.model), name="told", max_num_epochs=1, **changes)
    )
    assert second.history[-1]["valid_loss"] > first.history[-1]["valid_loss"]
    generator, metadata = checkpoint.load(second.model, Generator)
    assert metadata["card"]["epoch"] == 1
    embedding = generator.network.embed_properties
    assert embedding.network[-1].weight.detach().abs().max() > 0
    again = options(model=str(second.model), name="again", max_num_epochs=1, **changes)
    third = train_generator(again.model_copy(update={"lr": 1000.0}))
    assert checkpoint.load(third.model, Generator)[1]["card"]["epoch"] == 0  # nothing was added


def test_hyper_parameters_of_a_trained_generator_may_change_if_they_leave_its_weights(options):
    first = train_generator(options(name="first", max_num_epochs=1))
    assert is_generator(str(first.model))
    assert is_generator({"name": str(first.model)})
    model = {"name": str(first.model), "slope": 3.0}
    train_generator(options(model=model, name="second", max_num_epochs=1))
    with pytest.raises(ConfigError, match="alters weights that are there"):
        train_generator(options(model={**model, "width": 3}, name="third"))


LARGER = {"width": 32, "layers": 2, "harmonics": 3, "time_channels": 16}
# Architecture, epochs of training and steps of sampling.
LEARNERS = [
    pytest.param({**FLOW, **LARGER, "lattice_weight": 100.0}, 150, 20, id="crystalflow"),
    pytest.param(
        {**DIFFUSION, **LARGER, "levels": 200}, 600, 100, id="diffcsp", marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize(("model", "epochs", "steps"), LEARNERS)
def test_a_property_decides_the_size_of_what_is_drawn(options, tmp_path, model, epochs, steps):
    cubes = []
    for i in range(64):
        size = 2.6 + i / 40
        cubes.append(bulk("TiO", "cesiumchloride", a=size))
        cubes[-1].info["size"] = size
    del cubes[5].info["size"]  # it is learnt without
    path = csv_file(tmp_path / "cubes.csv", cubes)
    changes = {"train_file": path, "valid_file": path, "properties": "size", "model": model}
    changes |= {"max_num_epochs": epochs, "batch_size": 64, "lr": 0.01, "eval_interval": epochs}
    outcome = train_generator(options(**changes, allow_missing=True))
    generator, metadata = checkpoint.load(outcome.model, Generator)
    card = metadata["card"]["properties"]["size"]
    known = torch.tensor([cube.info["size"] for cube in cubes if "size" in cube.info]).double()
    deviation = float(known.std(correction=0))
    assert (card["min"], card["max"]) == pytest.approx((2.6, 4.175))
    assert card["by_n_atoms"]["2"] == pytest.approx([float(known.mean()), deviation], rel=1e-6)
    edges = {}
    for wanted in (2.8, 3.9):
        for guidance in (0.0, 1.0, 2.0):
            condition = Condition(
                n_atoms=torch.full((64,), 2),
                species=torch.tensor([22, 8]).repeat(64),
                properties={"size": torch.full((64,), wanted)},
                guidance=guidance,
            )
            made = draw(generator, condition, steps, 0)
            edges[wanted, guidance] = float(made.volume.pow(1 / 3).mean())
    assert edges[2.8, 0.0] == edges[3.9, 0.0], "without guidance nothing is asked for"
    for wanted in (2.8, 3.9):
        assert edges[wanted, 1.0] == pytest.approx(wanted, abs=0.25)
    assert edges[3.9, 1.0] - edges[2.8, 1.0] > 0.7
    assert edges[3.9, 2.0] - edges[2.8, 2.0] > edges[3.9, 1.0] - edges[2.8, 1.0]


@pytest.mark.parametrize(("speed", "told"), [(0.4, True), (1.5, False)])
def test_bfloat16_that_is_slower_is_told(options, monkeypatch, speed, told):
    notes: list[str] = []
    monkeypatch.setitem(train_generator.__globals__, "bfloat16_speed", lambda: speed)
    asked = options(mixed_precision=True, max_num_epochs=1)
    train_generator(asked, Listener(note=notes.append))
    assert any("0.4 times as fast in bfloat16" in note for note in notes) == told


@pytest.mark.parametrize(("terms", "told"), [({"species", "coordinates"}, True), (set(), False)])
def test_what_chooses_the_best_epoch_is_told(options, monkeypatch, terms, told):
    notes: list[str] = []
    monkeypatch.setattr(Generator, "decisive", frozenset(terms))
    train_generator(options(max_num_epochs=1), Listener(note=notes.append))
    said = "The best epoch is chosen by coordinates and species: valid_loss is their sum"
    assert any(said in note for note in notes) == told


def test_the_speed_of_bfloat16_is_a_ratio():
    assert 0.01 < bfloat16_speed() < 100
