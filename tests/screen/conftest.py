import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from matkit.screen import hull, model
from matkit.screen.options import ScreenOptions

# eV/atom of the elements by EMT, which are its zeros.
HULL = "formula,energy_per_atom\nCu,-0.007\nAu,0.002\nCuAu,-0.06\n"


@pytest.fixture
def emt(tmp_path, monkeypatch):
    """EMT in the place of the potential, and a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model, "load_calculator", lambda *names, **settings: EMT())
    model._loaded.cache_clear()
    hull._references.cache_clear()
    yield tmp_path
    model._loaded.cache_clear()
    hull._references.cache_clear()


def candidates():
    """Copper, copper again, gold, body-centred copper, what EMT does not know, and no crystal."""
    copper, again, gold = (bulk(symbol) for symbol in ("Cu", "Cu", "Au"))
    again.rattle(0.02, seed=0)
    again.set_cell(again.cell * 1.01, scale_atoms=True)
    soft = bulk("Cu", "bcc", a=2.9)
    unknown, broken = bulk("U", "fcc", a=4.4), bulk("Cu")
    broken.pbc = False
    return [copper, again, gold, soft, unknown, broken]


@pytest.fixture
def crystals(emt):
    write("crystals.extxyz", candidates())
    (emt / "hull.csv").write_text(HULL)
    return ["crystals.extxyz"]


QUICK = {"min_length": 5.0, "fmax": 0.05}


def quick(**changes):
    return ScreenOptions(**{**QUICK, **changes})
