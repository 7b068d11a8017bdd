"""Energies above hulls that can be drawn by hand."""

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Lattice, Structure

from matkit.crystals.stability import Hull, energies, read_hull
from matkit.errors import DataError, UnknownElementError
from tests.crystals import samples

PHASES = [("Na", -1.0), ("Cl2", -2.0), ("NaCl", -4.0), ("Na", -0.5)]


def test_above_the_hull():
    hull = Hull(PHASES)
    assert hull.above(samples.salt(), -3.9) == pytest.approx(0.1)
    assert hull.above(samples.salt(), -4.2) == pytest.approx(-0.2)
    # Na3Cl lies between Na and NaCl: half of its atoms in each.
    rich = Structure(
        Lattice.cubic(5.0), ["Na", "Na", "Na", "Cl"], [[0, 0, z / 4] for z in range(4)]
    )
    assert hull.above(rich, -2.0) == pytest.approx(-2.0 - (-1.0 - 4.0) / 2)


def test_a_missing_element_is_unknown():
    assert Hull(PHASES).above(samples.perovskite(), -5.0) is None


def test_a_hull_of_a_file(tmp_path):
    path = tmp_path / "hull.csv"
    path.write_text("formula,energy_per_atom\n" + "\n".join(f"{f},{e}" for f, e in PHASES))
    assert read_hull([path], LennardJones()).phases == PHASES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("formula,energy_per_atom\nNa,-1\nCl,low\n", "line 3"),
        ("formula,energy\nNa,-1\n", "formula and energy_per_atom"),
        ("formula,energy_per_atom\nQq!,-1\n", "line 2"),
        ("formula,energy_per_atom\nNa,nan\n", "line 2"),
        ("formula,energy_per_atom\n", "found none"),
    ],
)
def test_a_hull_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "hull.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_hull([tmp_path / "hull.csv"], LennardJones())


def test_no_hull(tmp_path):
    with pytest.raises(DataError, match="Cannot read the hull"):
        read_hull([tmp_path / "absent.csv"], LennardJones())


class Choosy(LennardJones):
    """Knows no oxygen."""

    def calculate(self, atoms=None, *rest):
        if "O" in atoms.get_chemical_symbols():
            raise UnknownElementError("oxygen")
        super().calculate(atoms, *rest)


def test_energies():
    calc = Choosy(sigma=2.0, epsilon=0.1)
    found = energies([samples.salt(), None, samples.perovskite()], calc)
    doubled = energies([samples.disguised(samples.salt())], Choosy(sigma=2.0, epsilon=0.1))
    assert found[0] == pytest.approx(doubled[0])
    assert found[0] < 0
    assert found[1:] == [None, None]


def test_a_hull_says_what_it_lacks(tmp_path, caplog):
    calc = Choosy(sigma=2.0, epsilon=0.1)
    for number, structure in enumerate((samples.salt(), samples.perovskite())):
        (tmp_path / f"{number}.cif").write_text(structure.to(fmt="cif"))
    (tmp_path / "9.cif").write_text("data_x\n_cell_length_a 5\n")
    assert len(read_hull([tmp_path], calc).phases) == 1
    assert "Left out: " in caplog.text
    assert "9.cif" in caplog.text
    assert "lacks phases of which the potential gives no energy" in caplog.text


def test_a_hull_of_crystals(tmp_path):
    calc = Choosy(sigma=2.0, epsilon=0.1)
    for number, structure in enumerate((samples.salt(), samples.perovskite())):
        (tmp_path / f"{number}.cif").write_text(structure.to(fmt="cif"))
    (energy,) = energies([samples.salt()], calc)
    ((formula, found),) = read_hull([tmp_path], calc).phases
    assert found == pytest.approx(energy)
    assert Composition(formula) == samples.salt().composition
    (tmp_path / "0.cif").unlink()
    with pytest.raises(DataError, match="no crystal with an energy"):
        read_hull([tmp_path], calc)


def test_the_hull_is_that_of_pymatgen():
    rng = np.random.default_rng(0)
    formulas = [("Li", 1), ("Fe", 1), ("O", 1), ("Li2O", 3), ("Fe2O3", 5), ("FeO", 2), ("LiFe", 2)]
    formulas += [("LiFeO2", 4), ("Li3FeO4", 8), ("LiFe5O8", 14), ("Li2O2", 4), ("Fe3O4", 7)]
    phases = [(formula, float(rng.normal())) for formula, _ in formulas for _ in range(2)]
    entries = [PDEntry(Composition(f), e * Composition(f).num_atoms) for f, e in phases]
    theirs, ours = PhaseDiagram(entries), Hull(phases)
    for formula in ("Li2Fe3O4", "Li5FeO4", "FeO", "LiO2", "LiFe"):
        composition = Composition(formula)
        species = [element for element, n in composition.items() for _ in range(int(n))]
        places = rng.random((len(species), 3))
        structure = Structure(Lattice.cubic(6.0), species, places)
        entry = PDEntry(composition, -1.5 * composition.num_atoms)
        expected = theirs.get_e_above_hull(entry, allow_negative=True)
        assert ours.above(structure, -1.5) == pytest.approx(expected, abs=1e-9)
