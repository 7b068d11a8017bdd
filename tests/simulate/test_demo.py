import numpy as np
import pytest
from ase.io import read

from matkit import demo
from matkit.simulate import relax
from tests.simulate.calculators import Springs


def test_the_demonstration_writes_its_files_twice(tmp_path, monkeypatch, capsys):
    class Quick(Springs):
        info = {"licence": "none"}  # noqa: RUF012

    monkeypatch.setattr(demo, "load_calculator", lambda name, dtype: Quick())
    monkeypatch.setattr(demo, "relax", lambda atoms, calc, **_: relax(atoms, Springs(), fmax=0.5))
    for _ in range(2):
        demo.main(tmp_path / "demo", steps=6)
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"silicon.png", "silicon-stats.csv", "silicon-traj.extxyz"} <= names
    assert (tmp_path / "demo" / "silicon.png").read_bytes().startswith(b"\x89PNG")
    assert len(read(tmp_path / "demo" / "wurtzite-relaxed.extxyz")) == 16
    assert "converged: True" in capsys.readouterr().out


def test_the_molecule_stands_on_the_surface():
    atoms = demo.molecule_on_surface()
    carbon, oxygen = (atoms.symbols == symbol for symbol in "CO")
    assert atoms.positions[oxygen, 2] > atoms.positions[carbon, 2] > atoms.positions[:12, 2].max()
    assert atoms.get_distances(13, range(12)).min() == pytest.approx(1.9, abs=0.3)
    fixed = atoms.constraints[0].index
    assert np.ptp(atoms.positions[fixed, 2]) == pytest.approx(0, abs=1e-9)
