"""What a generator finds out about its training set is found out once."""

from ase.build import bulk
from ase.io import write

from matkit.generative import wyformer
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.options import build
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generators import train_generator


def test_the_symmetry_of_the_training_set_is_found_once(tmp_path, monkeypatch):
    calls = []

    def counted(structures, original=wyformer.with_orbits):
        found = original(structures)
        calls.append(found is not structures)
        return found

    monkeypatch.setattr(wyformer, "with_orbits", counted)
    salts = [bulk("NaCl", "rocksalt", a=5.5 + 0.01 * i) for i in range(8)]
    write(tmp_path / "train.xyz", [*salts, *[bulk("Na"), bulk("CsCl", "cesiumchloride", a=4.1)]])
    write(tmp_path / "valid.xyz", salts)
    tiny = {"name": "wyformer", "width": 8, "layers": 1, "heads": 1, "max_atoms": 10}
    options = {"model": tiny, "name": "w", "work_dir": str(tmp_path), "report": False}
    files = {f"{part}_file": [str(tmp_path / f"{part}.xyz")] for part in ("train", "valid")}
    outcome = train_generator(build(GeneratorOptions, options | files | {"max_num_epochs": 3}))
    assert sum(calls) == 2  # training and validation sets
    assert len(calls) > 6
    generator, metadata = checkpoint.load(outcome.model, Generator)
    assert generator.groups == ((221, 1), (225, 8), (229, 1))
    assert set(metadata["hyperparameters"]["volumes"]) == {"Na", "Cl", "Cs"}
    assert generator.max_atoms == 10
