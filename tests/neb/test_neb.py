"""Minimum energy paths against surfaces with known saddle points, and against ASE's own band."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength
from ase.mep import NEB
from ase.optimize import FIRE

from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.neb import NEBOptions, neb
from matkit.neb.ends import check_ends, exchanged
from matkit.neb.report import path_figure, path_page
from matkit.report.json_files import json_bytes, plain
from matkit.transition.band import BandSettings, interpolated, relaxed_band
from matkit.transition.record import SearchRecord
from tests.phonons.lattice import argon, morse
from tests.report.sources import external_sources
from tests.transition.surfaces import MINIMA, SADDLES, MuellerBrown, particle


def pair():
    return [particle(*MINIMA[1]), particle(*MINIMA[2])]


def vacancy(calculator=EMT):
    """An atom that hops into a vacancy, across the boundary of the cell."""
    full = bulk("Cu", cubic=True).repeat(2) if calculator is EMT else argon().repeat(3)
    initial, final = full[1:], full[1:]
    nearest = int(np.argmin(full.get_distances(0, range(1, len(full)), mic=True)))
    final.positions[nearest] = full.positions[0]
    final.wrap()
    return [initial, final]


def test_the_barrier_of_a_known_surface():
    result = neb(pair(), MuellerBrown(), fmax=0.01)
    surface = MuellerBrown().surface
    low, high, end = (surface([*place, 0])[0] for place in (MINIMA[1], SADDLES[1], MINIMA[2]))
    assert (result.reason, result.messages) == ("converged", [])
    assert result.barrier == pytest.approx(high - low, abs=1e-4)
    assert result.reverse_barrier == pytest.approx(high - end, abs=1e-4)
    assert result.reaction_energy == pytest.approx(end - low, abs=1e-4)
    assert result.atoms.positions[1, :2] == pytest.approx(SADDLES[1], abs=0.01)


def test_without_climbing_no_image_comes_to_the_saddle_point():
    climbing = neb(pair(), MuellerBrown(), fmax=0.02, images=4)
    lazy = neb(pair(), MuellerBrown(), fmax=0.02, images=4, climb=False)
    assert lazy.converged
    assert lazy.barrier < climbing.barrier


def test_a_band_in_batches_is_the_one_of_single_images():
    """The forces on the band are ASE's with a calculator for every image."""
    initial, final = vacancy(morse)
    ends = neb([initial, final], morse(), steps=0).band.frames
    frames = interpolated(ends[0], ends[-1], 3, aside=0.0)
    images = [frame.copy() for frame in frames]
    for image in images:
        image.calc = morse()
    reference = NEB(images, k=0.1, method="improvedtangent")
    optimizer = FIRE(reference, logfile=None)
    for _ in range(3):
        optimizer.step()
    band = relaxed_band(frames, morse(), BandSettings(fmax=1e-9, steps=3, climb=False))
    for ours, theirs in zip(band.frames, images, strict=True):
        assert ours.positions == pytest.approx(theirs.positions, abs=1e-9)
        assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy())


def test_one_forward_computes_all_images(monkeypatch):
    from matkit import evaluator

    sizes = []
    original = evaluator.predict

    def counting(model, structures, *more):
        sizes.append(len(structures))
        return original(model, structures, *more)

    monkeypatch.setattr(evaluator, "predict", counting)
    neb(vacancy(morse), morse(), relax_ends=False, images=4, steps=2, fmax=1e-6)
    assert sizes == [2, 4, 4, 4]  # both ends, then the band at each step


def test_atoms_hop_the_short_way_across_the_boundary():
    result = neb(vacancy(), EMT(), images=3, fmax=0.03)
    assert result.converged
    assert 0.3 < result.barrier < 1.0
    assert result.barrier == pytest.approx(result.reverse_barrier, abs=1e-3)
    assert result.lengths[-1] < 4.0  # Å: the cell is 7.2 Å long
    assert int(np.argmax(result.energies)) == 2


def test_atoms_on_one_line_pass_beside_each_other():
    ends = [Atoms("HCN", [[x, 0, 0], [0, 0, 0], [1.16, 0, 0]]) for x in (-1.07, 2.16)]
    middle = neb(ends, EMT(), relax_ends=False, images=3, steps=0).band.frames[2]
    assert middle.get_distances(0, [1, 2]).min() > 0.8


def test_a_path_that_passes_a_minimum_says_so():
    result = neb([particle(*MINIMA[0]), particle(*MINIMA[2])], MuellerBrown(), images=9)
    assert any("a minimum on the way (image" in text for text in result.messages)


def test_a_path_without_a_barrier_says_so():
    ends = [particle(*MINIMA[1]), particle(*(MINIMA[1] + [0.1, 0.1]))]
    result = neb(ends, MuellerBrown(), relax_ends=False, images=2)
    assert any("no barrier" in text for text in result.messages)


def test_a_band_that_is_not_converged_says_so():
    result = neb(pair(), MuellerBrown(), steps=1)
    assert (result.reason, result.converged) == ("max_steps", False)
    assert "not converged: its largest force is" in result.messages[0]


def test_ends_that_are_not_relaxed_are_told():
    result = neb(
        [particle(*(MINIMA[1] + 0.2)), particle(*MINIMA[2])], MuellerBrown(), relax_steps=1
    )
    assert "the initial structure is not relaxed" in result.messages[0]
    assert not result.converged


def test_a_band_goes_on_from_its_record(tmp_path):
    first = neb(pair(), MuellerBrown(), steps=10, record=SearchRecord(tmp_path, held=(0,)))
    assert not first.converged
    again = SearchRecord(tmp_path, goes_on=True, held=(0,))
    second = neb(pair(), MuellerBrown(), steps=300, record=again)
    assert second.converged
    assert second.steps > 10
    third = neb(pair(), MuellerBrown(), steps=300, record=again)
    assert third.steps == second.steps
    assert third.barrier == pytest.approx(second.barrier, abs=1e-6)


def test_equal_atoms_in_another_order_deserve_a_warning():
    first = molecule("C2H6")
    second = first.copy()
    second.positions += 0.01
    second.positions[[2, 5]] = second.positions[[5, 2]]
    assert "if atom 2 of the initial structure were atom 5 of the final one" in exchanged(
        first, second
    )
    assert exchanged(*vacancy()) == ""


def changed(change):
    initial, final = vacancy()
    change(final)
    return [initial, final]


def stretch(atoms):
    atoms.cell[1, 1] *= 1.02


@pytest.mark.parametrize(
    ("structures", "match"),
    [
        (vacancy()[:1], "Expected two structures, the initial and the final one, got 1"),
        ([bulk("Cu"), bulk("Cu", cubic=True)], "3 Cu more in the one with 4 atoms"),
        (changed(lambda a: a.symbols.__setitem__(4, "Ag")), "got Cu and Ag as atom 4 .*Put the sa"),
        (
            [Atoms("CuAg", [[0, 0, 0], [0, 0, 3]]), Atoms("AgCu", [[0, 0, 0], [0, 0, 3]])],
            "same order in both ends, got Cu and Ag as atom 0 .*into the same order",
        ),
        (changed(stretch), "same cell in both ends, got as lattice vector b"),
        (changed(lambda a: a.set_pbc((True, True, False))), "same periodicity in both ends"),
        (changed(lambda a: a.set_constraint(FixAtoms([3]))), r"same held atoms.*\[\] and \[3\]"),
        (changed(lambda a: a.set_constraint(FixBondLength(0, 1))), "FixAtoms"),
        ([vacancy()[0]] * 2, "got the same structure: no atom moves by more than 0.000"),
        ([Atoms(), Atoms()], "at least one atom"),
    ],
)
def test_ends_without_a_path_are_refused(structures, match):
    with pytest.raises(StructureError, match=match):
        check_ends(structures)


def test_a_held_atom_that_moves_is_named():
    initial, final = vacancy()
    moving = int(np.argmax(np.abs(final.positions - initial.positions).max(axis=1)))
    for atoms in (initial, final):
        atoms.set_constraint(FixAtoms([moving]))
    with pytest.raises(StructureError, match=rf"Atom {moving} \(Cu\) is held by FixAtoms"):
        check_ends([initial, final])


def test_ends_that_relax_to_one_structure_are_refused():
    close = [particle(*(MINIMA[1] + 0.05)), particle(*(MINIMA[1] - 0.05))]
    with pytest.raises(StructureError, match="same structure after relaxation"):
        neb(close, MuellerBrown(), relax_fmax=1e-3)


class Broken(EMT):
    """Forces that are no numbers between the ends."""

    calls = 0

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.calls += 1
        if self.calls > 2:
            self.results["forces"] = self.results["forces"] * np.nan


def test_forces_that_are_no_numbers_are_an_error():
    with pytest.raises(SimulationError, match="NaN or infinity in step 0 of the band"):
        neb(vacancy(), Broken(), relax_ends=False, images=2)


def test_options_are_checked():
    with pytest.raises(ConfigError, match="imagez"):
        neb(pair(), MuellerBrown(), imagez=3)
    assert neb(pair(), MuellerBrown(), NEBOptions(steps=0), images=2).steps == 0


def test_the_page_and_the_row():
    result = neb(pair(), MuellerBrown(), images=3)
    row = json.loads(json_bytes(plain(result.row())))
    assert row["barrier"] == pytest.approx(result.barrier)
    assert len(row["energies"]) == len(row["lengths"]) == 5
    page = path_page(result, {"settings": {}, "model": {}, "versions": {}}, ["path.extxyz"])
    assert '<a href="path.extxyz">' in page
    assert external_sources(page) == []
    (axes,) = path_figure(result).axes
    assert len(axes.lines[1].get_xdata()) == 5
