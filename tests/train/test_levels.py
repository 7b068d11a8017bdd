"""What a tuned model is good for: elements whose energies fit together, and where it is from."""

import json

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

import matkit
from matkit.cli.app import app
from matkit.data.ase import from_ase
from matkit.errors import UnknownElementError
from matkit.models import cards, checkpoint, sources
from matkit.options import build
from matkit.train.finetune import finetune
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.run import train
from tests.train.labelled import TINY, frames, labelled_file

GOLD = bulk("Au", cubic=True)
COPPER = bulk("Cu", cubic=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    path = labelled_file(folder / "train.xyz", frames(8))
    given = {"train_file": path, "split_by": "random", "model": TINY, "work_dir": str(folder)}
    given |= {"max_num_epochs": 1, "report": False, "level": "EMT"}
    model = train(build(TrainOptions, given)).model
    network, metadata = checkpoint.load(model)
    card = metadata["card"] | {"licence": "MIT", "citation": "Somebody (2024)"}
    return checkpoint.save(network, folder / "known.safetensors", card)


@pytest.fixture
def tuned(tmp_path, base):
    """Return what fine-tunes on copper at a level whose energies are 3 eV per atom higher."""
    copper = frames(6, ("Cu",), seed=4)
    for atoms in copper:
        atoms.calc.results["energy"] += 12.0
    given = {"train_file": labelled_file(tmp_path / "train.xyz", copper), "level": "PBE0"}
    given |= {"foundation_model": str(base), "work_dir": str(tmp_path), "max_num_epochs": 1}

    def make(**changes):
        return finetune(build(FinetuneOptions, {**given, "report": False, **changes})).model

    return make


def energy(atoms, model, **options):
    return Atoms(atoms, calculator=matkit.load_calculator(model, **options)).get_potential_energy()


def test_elements_left_at_the_level_of_the_base_are_refused(tuned, caplog):
    """A tuned model claimed all elements of its base: MgO came out at -445 eV."""
    model = tuned()
    assert energy(COPPER, model) > 0
    for atoms in (GOLD, bulk("CuAu", "rocksalt", a=5.0)):
        with pytest.raises(UnknownElementError, match="for Cu only.*Au are untrained or still"):
            energy(atoms, model)
    assert energy(GOLD, model, any_level=True) < 50
    assert "good for Cu only" in caplog.text
    with pytest.raises(UnknownElementError, match="any_level=True"):
        matkit.load(model).featurize(from_ase(GOLD))


def test_the_file_says_what_was_seen_and_where_it_comes_from(tuned, base):
    card = cards.model_card(tuned())
    assert (card.level, card.elements_seen, card.valid_elements) == ("PBE0", "Cu", "Cu")
    assert card.fine_tuned_from == str(base)
    assert card.licence == "of the base, known: MIT"
    assert card.citation == "of the base, known: Somebody (2024)"
    assert card.elements == "Cu, Au"
    first = cards.model_card(base)
    assert (first.level, first.elements_seen, first.valid_elements) == ("EMT", "Cu, Au", "")


def test_models_info_and_the_report_show_it(tuned):
    model = tuned(report=True, spot_checks=False)
    shown = CliRunner().invoke(app, ["models", "info", str(model)]).output
    for text in ("PBE0", "valid elements", "elements seen", "fine tuned from"):
        assert text in shown
    metrics = json.loads((model.parent / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["models"]["after"]["valid_elements"] == "Cu"
    assert metrics["models"]["after"]["level"] == "PBE0"
    assert "valid_elements" not in metrics["models"]["before"]
    page = (model.parent / "report.html").read_text(encoding="utf-8")
    assert "of the base, known: MIT" in page


def test_what_was_not_moved_stays_valid(tuned):
    model = tuned(E0s="foundation")
    assert cards.model_card(model).valid_elements == ""
    assert energy(GOLD, model) < 50


def test_elements_that_nothing_was_learnt_of_are_refused(tmp_path):
    path = labelled_file(tmp_path / "train.xyz", frames(4, ("Cu",)))
    given = {"train_file": path, "model": {**TINY, "species": [8, 29]}, "work_dir": str(tmp_path)}
    model = train(build(TrainOptions, {**given, "max_num_epochs": 0, "report": False})).model
    assert energy(COPPER, model) < 50
    with pytest.raises(UnknownElementError, match="O are untrained"):
        energy(bulk("CuO", "rocksalt", a=4.2), model)


def test_what_was_replayed_stays_valid(tuned, tmp_path):
    replay = labelled_file(tmp_path / "replay.xyz", frames(4, ("Au",)))
    model = tuned(replay_file=replay)
    assert cards.model_card(model).valid_elements == "Cu, Au"
    assert energy(GOLD, model) < 50


def test_tuning_a_tuned_model_goes_on_from_what_it_is_good_for(tuned, tmp_path):
    first = tuned()
    gold = labelled_file(tmp_path / "gold.xyz", frames(6, ("Au",), seed=7))
    again = tuned(foundation_model=str(first), train_file=gold, E0s="foundation", name="again")
    card = cards.model_card(again)
    assert card.valid_elements == "Cu, Au"
    assert card.licence == "of the base, known: MIT"


def test_commands_refuse_too_and_have_a_way_out(tuned, tmp_path, monkeypatch):
    model = str(tuned())
    monkeypatch.chdir(tmp_path)
    write("au.xyz", GOLD)
    run = CliRunner().invoke(app, ["singlepoint", "au.xyz", "-m", model, "--out", "a"])
    assert run.exit_code != 0
    assert "--any-level" in run.output
    run = CliRunner().invoke(app, ["singlepoint", "au.xyz", "-m", model, "--any-level"])
    assert run.exit_code == 0
    labelled_file(tmp_path / "both.xyz", [*frames(2, ("Au",)), *frames(2, ("Cu",))])
    words = ["evaluate", model, "both.xyz"]
    assert "--any-level" in CliRunner().invoke(app, words).output
    run = CliRunner().invoke(app, [*words, "--skip-unknown", "--allow-problems", "--json"])
    assert json.loads(run.stdout)["groups"][0]["structures"] == 2


@pytest.mark.parametrize("text", [3, None, "", "nonsense", ["Cu"]])
def test_any_card_can_be_read(text):
    found = sources.valid_elements({"valid_elements": text})
    assert found is None or found == {29} or text == ["Cu"]
