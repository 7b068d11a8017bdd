import csv
import json

import pytest
import yaml

pytest.importorskip("rdkit")

from ase.build import molecule
from ase.io import write

from tests.properties.sets import BODY, property_file

ROWS = {"C": 13.7, "O": 8.0, "CO": 9.0, "CC": 11.0, "CCO": 8.5, "C=O": 6.0, "CCC": 10.0, "N": 8.1}


@pytest.fixture
def config(cli, tmp_path):
    property_file(tmp_path / "train.extxyz")
    settings = {"task": "property", "train-file": "train.extxyz", "split_by": "random"}
    settings |= {"target": ["energy_like:extensive:eV", "shortest"], "model": BODY}
    settings |= {"max-num-epochs": 1, "report": False, "valid_fraction": 0.2}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def test_train_then_predict(cli, config):
    result = cli("train", "-c", "train.yaml", "--name", "mine")
    assert "energy_like " in result.output
    assert "Mean absolute errors, validation set:" in result.output
    model = "results/mine/model.safetensors"
    write("new.extxyz", [molecule("H2O"), molecule("SiH4")])
    result = cli("predict", model, "new.extxyz", "--out", "out.csv", code=1)
    assert "of 2 structures are beyond what the model was trained on" in result.stderr
    assert "1 have no prediction" in result.stderr
    with (config / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["shortest"]) for row in rows] == [True, False]
    assert "Si" in rows[1]["outside"]
    result = cli("predict", model, "train.extxyz", "--out", "out.csv", code=2)
    assert "out.csv is there already" in result.output
    result = cli("predict", model, "train.extxyz", "--out", "out.csv", "--overwrite", "--json")
    document = json.loads(result.stdout)
    assert document["errors"]["shortest"]["count"] == 24
    assert document["without_prediction"] == 0


def test_a_model_without_properties_is_refused(cli):
    from matkit.models.shipped import shipped

    write("a.extxyz", molecule("H2O"))
    result = cli("predict", shipped()["facet-universal"], "a.extxyz", code=2)
    assert "Expected a network of properties" in result.output
    generator = cli("predict", shipped()["crystalflow-perov5"], "a.extxyz", code=2)
    assert "generates structures" in generator.output
    assert "Expected a model and files" in cli("predict", code=2).output


def test_graphs_of_smiles_without_geometry(cli, tmp_path):
    lines = [f"{smiles},{gap}\n" for smiles, gap in ROWS.items()]
    (tmp_path / "a.csv").write_text("".join(["smiles,gap\n", *lines]))
    body = "{name: mpnn, distances: none, width: 8, steps: 2, edge_hidden: [8]}"
    words = ["--task", "property", "--train-file", "a.csv", "--target", "gap::eV", "--no-report"]
    words += ["--model", body, "--no-conformers", "--epochs", "1", "--valid-fraction", "0"]
    cli("train", *words, "--name", "flat")
    result = cli("predict", "results/flat/model.safetensors", "a.csv", "-o", "out.csv")
    assert "gap: mean absolute error" in result.output
    write("b.extxyz", molecule("H2O"))
    result = cli("predict", "results/flat/model.safetensors", "b.extxyz", "-o", "b.csv", code=2)
    assert "learnt from molecules with bonds" in result.output
