import json

import numpy as np
import pytest
from ase.io import read

from matkit.data.dataset import read_dataset
from matkit.errors import DataError
from tests.data.sets import labelled, rattled_copper, save, strained_copper


@pytest.fixture
def copper(cli):
    return save("cu.extxyz", rattled_copper(10) + strained_copper(10))


def test_inspect_sound_data(cli, copper):
    text = cli("data", "inspect", copper).stdout
    assert "20 energy (energy of the ASE calculator)" in text
    assert "0 problems, 0 warnings. The data can be used." in text


def test_inspect_finds_a_problem_and_names_the_option(cli):
    save("bad.extxyz", [labelled(a, stress=-a.get_stress()) for a in strained_copper(6)])
    text = cli("data", "inspect", "bad.extxyz", code=1).stdout
    assert "problem  stress sign" in text
    assert "-> --stress-sign vasp" in text
    assert "Mend the problems." in text
    cli("data", "inspect", "bad.extxyz", "--stress_sign", "vasp")


def test_inspect_writes_a_report_and_histograms(cli, copper):
    result = cli("data", "inspect", copper, "--json", "--out", "report")
    document = json.loads(result.stdout)
    assert document["ok"] is True
    assert document["labels"]["train"]["energy"]["count"] == 20
    assert set(document["e0s"]["train"]) == {"Cu"}
    assert json.loads((cli.folder / "report/report.json").read_text()) == document
    for path in document["files"]:
        assert (cli.folder / path).read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (cli.folder / "report").iterdir()} == {
        *("energies.png", "forces.png", "report.json")
    }


@pytest.mark.parametrize("flag", ["--valid", "--test"])
def test_inspect_finds_leakage(cli, copper, flag):
    save("other.extxyz", [*rattled_copper(2, seed=5), read(copper, "3")])
    text = cli("data", "inspect", copper, flag, "other.extxyz", code=1).stdout
    assert f"train and {flag[2:]}:" in text
    assert "other.extxyz[2] = cu.extxyz[3]" in text


def test_inspect_asks_the_model(cli, copper):
    text = cli("data", "inspect", copper, "--model", "sevennet-0").stdout
    assert "sevennet-0 knows all elements: Cu" in text
    assert "Did you mean" in cli("data", "inspect", copper, "-m", "sevenet-0", code=2).stderr


def test_inspect_of_data_without_labels(cli):
    for i, atoms in enumerate(frames := rattled_copper(2)):
        atoms.calc = None
        frames[i] = atoms
    save("bare.extxyz", frames)
    cli("data", "inspect", "bare.extxyz", "--out", "report", code=1)
    assert {path.name for path in (cli.folder / "report").iterdir()} == {"report.json"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect"], "Expected at least one file"),
        (["inspect", "nothing.xyz"], "there is no file nothing.xyz"),
        (["inspect", "cu.extxyz", "--energy-key", "dft"], "No structure has energy under the key"),
        (["inspect", "cu.extxyz", "--stress-unit", "psi"], "Unknown stress_unit 'psi'. Known: GPa"),
        (["convert", "cu.extxyz"], "Expected where to write"),
        (["split", "cu.extxyz", "--by", "formula"], "belong to 1 group"),
        (["split", "cu.extxyz", "--valid-fraction", "0.5", "--test-fraction", "0.5"], "must leave"),
        (["split", "cu.extxyz", "--valid-fraction", "0", "--test-fraction", "0"], "must leave"),
    ],
)
def test_wrong_use(cli, copper, words, message):
    assert message in cli("data", *words, code=2).stderr


def test_an_error_with_its_traceback(cli):
    with pytest.raises(DataError):
        cli("data", "inspect", "nothing.xyz", "--debug")


def test_convert_there_and_back(cli, copper):
    text = cli("data", "convert", copper, "cache").stdout
    assert "20 structures with 20 energy" in text
    cli("data", "convert", "cache", "back.extxyz")
    first, again = read_dataset(copper).structures, read_dataset("back.extxyz").structures
    assert np.allclose(first.positions, again.positions, atol=1e-7)
    assert np.allclose(first.system["stress"], again.system["stress"], atol=1e-7)
    assert "already is" in cli("data", "convert", copper, "cache", code=2).stderr
    document = cli("data", "convert", copper, "cache", "--overwrite", "--json").stdout
    assert json.loads(document)["labels"] == {"energy": 20, "forces": 20, "stress": 20}
    assert "Expected an extended XYZ" in cli("data", "convert", "cache", "other", code=2).stderr


def test_convert_several_files_with_options(cli, copper):
    save("more.extxyz", [labelled(a, stress=-a.get_stress()) for a in strained_copper(2)])
    cli("data", "convert", "more.extxyz", copper, "-o", "all.xyz.gz", "--stress-sign", "vasp")
    stress = read_dataset("all.xyz.gz").structures.system["stress"]
    expected = strained_copper(2)[0].get_stress(voigt=False)
    assert np.allclose(stress[0].numpy(), expected, atol=1e-6)


def test_split(cli, copper):
    words = ["data", "split", copper, "--by", "random", "--test-fraction", "0.2", "-o", "parts"]
    rows = json.loads(cli(*words, "--json").stdout)
    assert {name: row["structures"] for name, row in rows.items()} == {
        "train": 14,
        "valid": 2,
        "test": 4,
    }
    sources = [read(f"parts/{n}.extxyz", ":") for n in ("train", "valid", "test")]
    names = [atoms.info["source"] for part in sources for atoms in part]
    assert sorted(names) == sorted(f"cu.extxyz[{i}]" for i in range(20))
    assert "there already are" in cli(*words, code=2).stderr
    cli(*words, "--overwrite")


def test_split_keeps_trajectories_and_may_have_two_parts(cli):
    frames = [a for n in range(5) for a in strained_copper(4, run=n)]
    save("runs.extxyz", frames)
    text = cli("data", "split", "runs.extxyz", "--group-key", "run", "--test-fraction", 0).stdout
    assert "train.extxyz: 16 structures (80.0 %; asked 90.0 %), 4 groups" in text
    groups = {atoms.info["group"] for atoms in read("valid.extxyz", ":")}
    assert len(groups) == 1
    assert not (cli.folder / "test.extxyz").exists()


def test_one_trajectory_is_split_and_a_test_set_of_one_frame_is_told(cli):
    save("md.extxyz", rattled_copper(10))
    result = cli("data", "split", "md.extxyz", "--json")
    assert "cut into blocks" in result.stderr
    assert "The test set is one structure" in result.stderr
    document = json.loads(result.stdout)
    assert [document[name]["structures"] for name in ("train", "valid", "test")] == [8, 1, 1]
    assert [len(document[name]["remarks"]) for name in ("train", "valid", "test")] == [1, 2, 2]
    last = read("md.extxyz", -1)
    assert np.allclose(read("test.extxyz").positions, last.positions)


def test_fit_e0s(cli):
    import ase

    atom = labelled(ase.Atoms("Cu"), energy=3.5)
    save("cu.extxyz", [atom, *rattled_copper(5)])
    text = cli("data", "fit-e0s", "cu.extxyz", "--out", "e0s.json").stdout
    assert "3.500000" in text
    table = json.loads((cli.folder / "e0s.json").read_text())
    energies = [a.get_potential_energy() / 4 for a in rattled_copper(5)]
    assert table == pytest.approx({"Cu": np.mean(energies)})
    assert (
        "there already are" in cli("data", "fit-e0s", "cu.extxyz", "-o", "e0s.json", code=2).stderr
    )
    document = json.loads(cli("data", "fit-e0s", "cu.extxyz", "--json").stdout)
    assert document["determined"] is True
    assert document["rms"] == pytest.approx(np.std(energies))


def test_fit_e0s_says_what_it_cannot_know(cli):
    from ase.build import molecule

    save("w.extxyz", [labelled(molecule("H2O"))])
    assert "same proportions" in cli("data", "fit-e0s", "w.extxyz").stderr


@pytest.mark.parametrize("command", ["inspect", "convert", "split", "fit-e0s"])
def test_help(cli, command):
    text = cli("data", command, "--help").stdout
    for flag in ("--energy-key", "--stress-sign", "--group-key", "--zero-net-force"):
        assert flag in text
