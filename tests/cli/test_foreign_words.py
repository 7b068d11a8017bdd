"""Words of MACE and others: they work, or answer with ours, wherever they are said."""

import pytest

import matkit
from matkit.cli.app import BUILDERS, MORE
from matkit.cli.configs import ALL
from matkit.cli.data_options import OPTIONS
from matkit.errors import ConfigError, UnknownNameError
from matkit.options import build
from matkit.options.foreign_words import ANSWERS, answer
from matkit.train.options import FinetuneOptions, TrainOptions
from tests.train.labelled import frames, labelled_file

WORDS = [("--swa", "ema"), ("--multiheads_finetuning=False", "replay_file"), ("--stage-two", "ema")]


def flat(text):
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(("flag", "ours"), WORDS)
@pytest.mark.parametrize("command", ["train", "finetune"])
def test_flags_of_mace_are_answered(cli, command, flag, ours):
    told = flat(cli(command, flag, code=2).output)
    assert "No such option" in told
    assert "a word of another program" in told
    assert ours in told


def test_other_unknown_flags_are_not(cli):
    told = cli("train", "--los", "mse", code=2).output
    assert "No such option" in told
    assert "another program" not in told


def test_commands_below_a_group_answer_too(cli):
    assert "one head" in flat(cli("data", "split", "a.xyz", "--heads", "x", code=2).output)


def test_configuration_files_answer(cli):
    (cli.folder / "c.yaml").write_text("swa: true\nmultiheads_finetuning: true\n")
    told = flat(cli("finetune", "-c", "c.yaml", code=2).output)
    assert "Unknown option 'swa'. That is a word of another program" in told
    assert "replay_file" in told
    with pytest.raises(ConfigError, match="'dispersion'.*where a model is used"):
        build(TrainOptions, {"dispersion": True})


def test_python_answers():
    with pytest.raises(ConfigError) as caught:
        matkit.load_calculator(model_paths="a.model", default_dtype="float64", damping="bj")
    for text in ("'model_paths'", "first argument", "called dtype", "dispersion_functional"):
        assert text in str(caught.value)
    with pytest.raises(ConfigError, match="Unknown argument 'devise'.*Did you mean 'device'"):
        matkit.load_calculator(devise="cpu")


def test_estimated_references_are_those_that_are_fitted(tmp_path, cli):
    from matkit.train.finetune import finetune
    from matkit.train.run import train

    path = labelled_file(tmp_path / "a.xyz", frames(6, ("Cu",)))
    given = {"train_file": path, "max_num_epochs": 0, "report": False}
    model = {"name": "nequip", "irreps": ["4x0e", "4x0e+4x1o", "4x0e"], "lmax": 1, "cutoff": 3.5}
    base = train(build(TrainOptions, {**given, "model": model, "E0s": "estimated"}))
    assert base.start.facts["E0s"].keys() == {29}
    moved = {}
    for name in ("fit", "estimated", "average"):
        rest = {"foundation_model": str(base.model), "E0s": name, "name": name}
        moved[name] = finetune(build(FinetuneOptions, {**given, **rest})).start.facts["E0_changes"]
    assert moved["fit"] == moved["estimated"] == moved["average"]
    wrong = {"foundation_model": str(base.model), "E0s": "estimate", "name": "wrong"}
    with pytest.raises(UnknownNameError, match="Did you mean 'estimated'"):
        finetune(build(FinetuneOptions, {**given, **wrong}))


def test_no_answer_stands_in_the_way_of_an_option():
    """`head` is an option of data, `dispersion` of what uses models; foreign words elsewhere."""
    ours = {
        name for m in {**ALL, **OPTIONS, **BUILDERS, **MORE}.values() for name in m.model_fields
    }
    assert ours & ANSWERS.keys() <= {"default_dtype", "dispersion", "head"}
    assert answer("--SWA") == answer("swa") != ""
    assert answer("los") == ""
