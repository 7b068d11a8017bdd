import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLength
from ase.io import read

import matkit.transition
from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.report.json_files import json_bytes
from matkit.transition import transition_state
from matkit.transition.band import BandSettings, interpolated, relaxed_band
from matkit.transition.record import SearchRecord
from matkit.transition.report import path_scene, profile_figure, ts_page, verdict
from matkit.transition.run import _shallow
from matkit.transition.search import Search
from tests.report.sources import external_sources
from tests.transition.surfaces import MINIMA, SADDLES, MuellerBrown, Quadratic, particle

DIFFERENCES = {"hessian": "finite-difference"}


def minimum(number):
    return particle(*MINIMA[number])


def gfn2():
    ase = pytest.importorskip("tblite.ase")
    return ase.TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)


def isomer(*hydrogen):
    return Atoms("HCN", [hydrogen, [0, 0, 0], [1.15, 0, 0]])


def found(pair, **changes):
    return transition_state(pair, MuellerBrown(), **DIFFERENCES, **changes)


def test_from_minimum_to_minimum():
    result = found([minimum(1), minimum(2)], irc_step=0.05)
    assert (result.converged, result.connects, result.problems) == (True, True, [])
    assert result.atoms.positions[1] == pytest.approx([*SADDLES[1], 0], abs=2e-3)
    assert len(result.imaginary) == 1
    first, second = (foot.atoms.positions[1, :2] for foot in result.feet)
    assert first == pytest.approx(MINIMA[1], abs=5e-3)
    assert second == pytest.approx(MINIMA[2], abs=5e-3)
    surface = MuellerBrown().surface
    heights = [surface([*SADDLES[1], 0])[0] - surface([*MINIMA[n], 0])[0] for n in (1, 2)]
    assert result.barriers == pytest.approx(heights, abs=1e-4)
    frames, origin = result.profile()
    assert np.argmax([frame.get_potential_energy() for frame in frames]) == origin


def test_a_path_to_another_minimum_is_no_success():
    result = found([minimum(0), minimum(2)], images=9)
    assert result.connects is False
    assert not result.converged
    assert "does not lead from reactant to product" in " ".join(result.problems)
    assert verdict(result) == "not found"


def test_a_band_that_is_not_converged_is_said_and_used():
    result = found([minimum(1), minimum(2)], neb_steps=0)
    assert result.converged
    assert "the band is not converged" in result.warnings[0]


def test_a_search_that_does_not_end_is_said():
    result = found([particle(0.6, 0.1)], steps=1)
    assert (result.reason, result.converged, result.feet) == ("max_steps", False, [])
    assert "search is not converged" in result.problems[0]


def test_a_path_that_does_not_end_is_said():
    result = found([particle(*SADDLES[0])], irc_points=2)
    assert result.problems == ["the path does not end in minima within irc_points and relax_steps"]


def test_imaginary_modes_are_counted_from_a_threshold():
    result = found([particle(*SADDLES[0])], imaginary_above=5000.0)
    assert "exactly one imaginary mode beyond 5000i 1/cm, got 0: none" in result.problems[0]
    assert result.feet == []


def test_a_saddle_point_of_second_order_is_refused_with_its_modes():
    atoms = Atoms("H2", [[0, 0, 0], [1, 0, 0]], constraint=FixAtoms([0]))
    hill = np.diag([0.0, 0, 0, -2.0, -1.0, 3.0])
    result = transition_state([atoms], Quadratic(hill, atoms.positions), **DIFFERENCES)
    assert len(result.imaginary) == 2
    assert "got 2: " in result.problems[0]
    assert f"{-result.imaginary[0]:.2f}i" in result.problems[0]


def test_a_minimum_that_nuclei_at_rest_would_leave_is_said():
    """The search from a bent HCN ended 0.009 eV above one with hydrogen in the middle."""
    result = found([minimum(1), minimum(2)], irc_step=0.05)
    saddle = Search(result.atoms, "converged", 1, 1)
    assert _shallow(saddle, result.feet, [-1.0]) == []
    first, second = _shallow(saddle, result.feet, [-20000.0])
    assert first.startswith("side 1 of the path is hardly a minimum: ")
    assert second.startswith("side 2 ")


def test_without_the_path():
    result = found([particle(*SADDLES[0])], irc=False)
    assert (result.converged, result.feet, result.connects) == (True, [], None)
    assert result.barriers == []


def test_ends_that_do_not_relax_or_are_the_same():
    result = found([particle(0.1, 0.6), minimum(2)], relax_steps=0, irc=False)
    assert "the reactant is not relaxed within relax_steps" in result.warnings
    with pytest.raises(StructureError, match="the same molecule after relaxation"):
        found([particle(0.1, 0.6), minimum(1)])


def test_hydrogen_cyanide_to_isocyanide():
    pair = [isomer(-1.07, 0, 0), isomer(2.15, 0.1, 0)]
    result = transition_state(pair, gfn2(), **DIFFERENCES)
    assert (result.converged, result.connects) == (True, True)
    assert result.imaginary == pytest.approx([-1426], abs=10)
    linear = [foot.atoms.get_angle(0, 1, 2) % 180 for foot in result.feet]
    assert [min(angle, 180 - angle) for angle in linear] == pytest.approx([0, 0], abs=2)
    hydrogen = [foot.atoms.get_all_distances()[0, 1:] for foot in result.feet]
    assert hydrogen[0][0] < 1.15 < hydrogen[0][1]
    assert hydrogen[1][1] < 1.15 < hydrogen[1][0]
    assert result.warnings == []


def test_inversion_of_ammonia():
    start = molecule("NH3")
    inverted = start.copy()
    inverted.positions[:, 2] *= -1
    result = transition_state([start, inverted], gfn2(), **DIFFERENCES)
    assert (result.converged, result.connects) == (True, True)
    assert len(result.imaginary) == 1
    assert np.ptp(result.atoms.get_all_distances()[0, 1:]) < 1e-3
    away = result.atoms.positions - result.atoms.positions.mean(axis=0)
    assert np.linalg.svd(away)[1][2] < 0.02  # planar
    assert result.barriers == pytest.approx([0.265, 0.265], abs=5e-3)
    assert [foot.reactant for foot in result.feet] == ["identical", "conformer"]


def test_a_guess_alone():
    result = transition_state([isomer(0.7, 1.1, 0)], gfn2(), **DIFFERENCES)
    assert (result.converged, result.connects, result.ends, result.band) == (True, None, [], None)
    assert result.imaginary == pytest.approx([-1426], abs=10)
    assert len(result.barriers) == 2
    assert sorted(result.bond_changes) == [["H0-C1"], ["H0-N2"]]


def test_open_shells_are_warned_of():
    radical = isomer(0.7, 1.1, 0)
    radical.info["spin"] = 3
    with pytest.raises(KeyboardInterrupt):  # it is said before the work; the work is not wanted
        transition_state([radical], Interrupted(), **DIFFERENCES)
    result = found([particle(*SADDLES[0])], irc=False)
    assert result.warnings == []
    triplet = particle(*SADDLES[0])
    triplet.info["spin"] = 3
    assert "open shell (multiplicity 3)" in found([triplet], irc=False).warnings[0]
    ion = particle(*SADDLES[0])
    ion.info["charge"] = 1
    assert "odd number of electrons" in found([ion], irc=False).warnings[0]


class Interrupted(MuellerBrown):
    """Stops at the first call."""

    def calculate(self, *args, **kwargs):
        raise KeyboardInterrupt


class Broken(MuellerBrown):
    """Gives no numbers."""

    def surface(self, place):
        return 0.0, np.full(3, np.nan)


def test_forces_that_are_no_numbers():
    with pytest.raises(SimulationError, match="NaN or infinity in step 0 of the search"):
        transition_state([particle(*SADDLES[0])], Broken(), **DIFFERENCES)


def water(**changes):
    atoms = molecule("H2O")
    atoms.set_cell([9, 9, 9])
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        ([], "got 0"),
        ([water()] * 3, "got 3"),
        ([Atoms("H2", [[0, 0, 0], [0, 0, 0.9]])], "part without a transition state"),
        ([Atoms("He")], "got He: two atoms come together"),
        ([water(), molecule("NH3")], "same elements.*H2O and H3N"),
        ([water(), water()[[1, 0, 2]]], "same order.*O and H as atom 0"),
        ([water(), water()], "the same molecule: their root"),
        ([water(pbc=True)], "Transition states are meant for molecules"),
        ([water(), molecule("H2O")], "same cell"),
        ([water(positions=np.full((3, 3), np.nan))], "NaN"),
        ([water(constraints=[FixBondLength(0, 1)])], "FixAtoms"),
    ],
)
def test_structures_that_are_refused(structures, message):
    with pytest.raises(StructureError, match=message):
        transition_state(structures, MuellerBrown(), **DIFFERENCES)


def test_options_that_are_refused():
    with pytest.raises(ConfigError, match="Unknown option 'image'. Did you mean 'images'"):
        transition_state([minimum(0)], MuellerBrown(), image=3)
    with pytest.raises(ConfigError, match="MuellerBrown has no Hessian by method 'autograd'"):
        transition_state([minimum(0)], MuellerBrown())


class Counting(MuellerBrown):
    """Counts its calculations."""

    calls = 0

    def calculate(self, *args, **kwargs):
        self.calls += 1
        super().calculate(*args, **kwargs)


def test_a_run_goes_on_from_its_files(tmp_path):
    pair = [minimum(1), minimum(2)]
    first = Counting()
    result = transition_state(pair, first, record=SearchRecord(tmp_path), **DIFFERENCES)
    again = SearchRecord(tmp_path, goes_on=True, held=(0,))
    for lost, share in (("irc.extxyz", 0.9), (None, 0.5)):
        if lost:
            (tmp_path / lost).unlink()
        calc = Counting()
        second = transition_state(pair, calc, record=again, **DIFFERENCES)
        assert calc.calls < share * first.calls
        assert second.converged
        assert second.steps == 0
        assert second.imaginary == pytest.approx(result.imaginary, abs=0.1)
        assert second.barriers == pytest.approx(result.barriers, abs=1e-5)
        places = [foot.atoms.positions[1] for foot in second.feet]
        assert places[0][:2] == pytest.approx(MINIMA[1], abs=5e-3)
        assert places[1][:2] == pytest.approx(MINIMA[2], abs=5e-3)
        kept = read(tmp_path / "minima.extxyz", ":")
        assert [frame.info["side"] for frame in kept] == [-1, 1]
        assert np.array([frame.positions[1] for frame in kept]) == pytest.approx(np.array(places))


def test_a_new_band_makes_later_files_void(tmp_path):
    pair = [minimum(1), minimum(2)]
    transition_state(pair, MuellerBrown(), record=SearchRecord(tmp_path), **DIFFERENCES)
    record = SearchRecord(tmp_path, goes_on=True, held=(0,))
    band = record.band()
    assert band.converged
    record.keep_band(band)
    assert record.saddle() is None
    assert record.branches() == {}
    assert not (tmp_path / "minima.extxyz").exists()


def test_a_band_that_was_interrupted_goes_on(tmp_path):
    pair = [minimum(1), minimum(2)]
    short = found(pair, neb_steps=10, neb_fmax=0.02, record=SearchRecord(tmp_path), irc=False)
    assert not short.band.converged
    record = SearchRecord(tmp_path, goes_on=True, held=(0,))
    kept = found(pair, neb_steps=10, neb_fmax=0.02, record=record, irc=False)
    assert kept.band.steps == 10
    assert kept.steps == 0  # the saddle point is kept too
    longer = found(pair, neb_steps=300, neb_fmax=0.02, record=record, irc=False)
    assert longer.band.converged
    assert longer.band.steps > 10


def test_the_band_is_relaxed_with_few_calculations():
    reactant, product = minimum(1), minimum(2)
    frames = interpolated(reactant, product, 5)
    ways = [frame.positions[1] for frame in frames]
    assert len(frames) == 7
    assert ways[0][:2] == pytest.approx(MINIMA[1])
    assert all(np.array_equal(frame.positions[0], [3, 3, 0]) for frame in frames)
    calc = Counting()
    band = relaxed_band(frames, calc, BandSettings(fmax=0.1, steps=150))
    assert band.converged
    assert calc.calls <= 5 * (band.steps + 2)  # one more where it begins to climb
    surface = MuellerBrown().surface
    assert band.peak_energy == pytest.approx(surface([*SADDLES[1], 0])[0], abs=0.01)


def test_reports():
    result = found([minimum(1), minimum(2)])
    row = json.loads(json_bytes(result.row()))
    assert row["connects"] is True
    assert row["irc"][0]["like_reactant"] == "identical"
    more = {"settings": {"fmax": 0.01}, "model": {}, "versions": {}}
    text = ts_page(result, row | more, ["ts.extxyz"])
    assert '<a href="ts.extxyz">' in text
    assert external_sources(text) == []
    path = path_scene(result)
    assert len(path["frames"]) == len(result.profile()[0])
    assert [frame["title"] for frame in path["frames"]].count("0.00 √amu Å, 0.000 eV") == 1
    assert text.count("<canvas") == 2
    assert "data:image/png" in text
    assert f"{-result.imaginary[0]:.2f}i" in text
    assert len(profile_figure(result).axes) == 2


def test_unknown_names_of_the_package():
    with pytest.raises(AttributeError, match="has no attribute 'SADDLE'"):
        matkit.transition.SADDLE  # noqa: B018
