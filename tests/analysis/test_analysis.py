"""Trajectories whose distances, diffusion and vibrations are known."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry.rdf import get_rdf
from ase.io import write

from matkit import analyse, md
from matkit.analysis.correlations import autocorrelation, by_element, mean_square_displacement
from matkit.errors import ConfigError, SimulationError, StructureError

LIGHT = 2.99792458e-5  # cm/fs


def walk(count=4000, n_atoms=60, step=0.05, seed=0, wrap=True):
    """Independent Brownian walks of `O`; `Li` with half of the steps.

    Each step of a component is normal with the deviation s: <r²> = 3 s² t/dt = 6 D t, so that
    D = s²/2 dt.
    """
    rng = np.random.default_rng(seed)
    atoms = Atoms(f"O{n_atoms}Li{n_atoms}", cell=[6, 6, 6], pbc=True)
    sizes = np.repeat([step, step / 2], n_atoms)[:, None]
    positions = rng.uniform(0, 6, (2 * n_atoms, 3))
    for i in range(count):
        frame = atoms.copy()
        frame.positions = positions + 0.02 * i  # a drift, which is no diffusion
        if wrap:
            frame.wrap()
        frame.info["time_fs"] = 10.0 * i
        yield frame
        positions = positions + sizes * rng.normal(size=positions.shape)


def vibrating(wavenumbers=(1500.0, 500.0), interval=2.0, count=3000):
    """Pairs of N and pairs of C that vibrate at one wavenumber each."""
    atoms = Atoms("N2C2", positions=[[0, 0, 0], [0, 0, 2], [5, 0, 0], [5, 0, 2]])
    for i in range(count):
        frame = atoms.copy()
        velocities = np.zeros((4, 3))
        for pair, wavenumber in enumerate(wavenumbers):
            speed = 1e-2 * np.cos(2 * np.pi * wavenumber * LIGHT * interval * i)
            velocities[2 * pair, 2], velocities[2 * pair + 1, 2] = speed, -speed
        frame.set_velocities(velocities)
        frame.info["time_fs"] = interval * i
        yield frame


def test_shells_of_a_crystal_hold_their_neighbours():
    """Of rock salt with a = 5.6 Å: 6 others at a/2, 12 alike at a/√2, 8 others at a √3/2."""
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    found = analyse([crystal], rdf_max=7.0).distances
    coordination = {
        (pair, distance): found.coordination[pair][np.searchsorted(found.edges[1:], distance)]
        for pair in ("Na-Cl", "Cl-Na", "Na-Na")
        for distance in (3.5, 4.5, 5.2)
    }
    assert coordination["Na-Cl", 3.5] == coordination["Cl-Na", 3.5] == 6
    assert coordination["Na-Na", 3.5] == 0
    assert coordination["Na-Na", 4.5] == 12
    assert coordination["Na-Cl", 5.2] == 14
    assert found.peaks["Na-Cl"] == pytest.approx(2.8, abs=0.05)
    assert list(found.pairs) == ["Na-Na", "Na-Cl", "Cl-Cl"]


def test_the_choice_of_the_cell_makes_no_difference():
    """Images of an atom are its neighbours too."""
    cells = bulk("Cu"), bulk("Cu", cubic=True), bulk("Cu") * (3, 1, 2)
    found = [analyse([cell]).distances for cell in cells]
    for other in found[1:]:
        assert other.total == pytest.approx(found[0].total)
        assert other.coordination["Cu-Cu"] == pytest.approx(found[0].coordination["Cu-Cu"])
    assert found[0].coordination["Cu-Cu"][np.searchsorted(found[0].edges[1:], 3.0)] == 12


def test_an_ideal_gas_has_the_density_one():
    rng = np.random.default_rng(0)
    cell = np.diag([15.0, 16.0, 17.0])
    frames = [
        Atoms("Ar200", positions=rng.uniform(0, 1, (200, 3)) @ cell, cell=cell, pbc=True)
        for _ in range(10)
    ]
    found = analyse(frames, rdf_width=0.5).distances
    assert found.total[4:] == pytest.approx(1, abs=0.06)


def test_distances_are_those_of_ase():
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (3, 3, 3)
    crystal.rattle(0.2, seed=1)
    found = analyse([crystal], rdf_max=8.0, rdf_width=0.1).distances
    theirs, _ = get_rdf(crystal, 8.0, 80, elements=(11, 17))
    # ASE divides by the area of a shell times its width, not by its volume.
    expected = theirs * (1 + 0.1**2 / 12 / found.distances**2) ** -1
    far = found.distances > 1
    assert found.pairs["Na-Cl"][far] == pytest.approx(expected[far], rel=0.01, abs=0.01)


def test_correlations_are_those_of_their_definitions():
    values = np.random.default_rng(0).normal(size=(9, 2, 3)).cumsum(axis=0)
    for lag in (0, 1, 5, 8):
        ends = values[lag:], values[: 9 - lag]
        products = (ends[0] * ends[1]).sum(axis=2).mean(axis=0)
        assert autocorrelation(values)[lag] == pytest.approx(products)
        squares = ((ends[0] - ends[1]) ** 2).sum(axis=2).mean(axis=0)
        assert mean_square_displacement(values)[lag] == pytest.approx(squares)


def test_atoms_are_taken_piece_by_piece(monkeypatch):
    values = np.random.default_rng(0).normal(size=(9, 7, 3))
    numbers, weights = np.array([1, 8, 1, 1, 8, 8, 1]), np.arange(7.0)
    whole = by_element(values, numbers, autocorrelation, weights)
    monkeypatch.setattr("matkit.analysis.correlations.LARGEST", 60)
    pieces = by_element(values, numbers, autocorrelation, weights)
    for z in (1, 8):
        assert pieces[z] == pytest.approx(whole[z])


@pytest.mark.parametrize("wrap", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_walk_has_the_diffusion_of_its_steps(wrap):
    """Wrapped into the cell or not, and whatever the drift of all atoms."""
    found = analyse(walk(wrap=wrap), parts=["diffusion"]).diffusion
    for name, step in (("O", 0.05), ("Li", 0.025)):
        expected = step**2 / 2 / 0.01  # Å²/ps; what the centre takes away is 1 in 120
        assert found.errors[name] < 0.15 * expected
        assert abs(found.coefficients[name] - expected) < 3 * found.errors[name] + 0.02 * expected
        assert found.exponents[name] == pytest.approx(1, abs=0.15)
    assert found.window == pytest.approx((1.0, 5.0))


def test_the_window_can_be_chosen():
    options = {"parts": ["diffusion"], "fit_start": 0.2, "fit_end": 0.8, "blocks": 2}
    found = analyse(walk(400, 5), **options).diffusion
    assert found.window == pytest.approx((0.2, 0.8))
    assert len(found.times) == 200


def test_a_cell_that_changes_is_unwrapped_too():
    """An atom that walks along x through the faces of a breathing cell, beside a heavy one."""
    frames = []
    for i in range(100):
        size = 5 + 0.5 * np.sin(i / 5)
        atoms = Atoms("HU", positions=[[0.4 * i, 0, 0], [0, 1, 0]], cell=[size] * 3, pbc=True)
        atoms.info["time_fs"] = float(i)
        atoms.set_masses([1e-6, 238])
        atoms.wrap()
        frames.append(atoms)
    found = analyse(frames, parts=["diffusion"]).diffusion
    assert found.exponents["H"] == pytest.approx(2, abs=0.1)


def test_frames_too_far_apart_are_remarked_on():
    frames = []
    for i in range(40):
        atoms = Atoms("HU", positions=[[2.2 * i, 0, 0], [0, 1, 0]], cell=[5, 5, 5], pbc=True)
        atoms.info["time_fs"] = 1.0 * i
        frames.append(atoms)
    assert any("moves 0.44 of a cell vector" in text for text in analyse(frames).remarks)


def test_vibrations_are_where_they_are():
    found = analyse(vibrating()).velocities
    for name, wavenumber in (("N", 1500), ("C", 500)):
        peak = found.wavenumbers[found.states[name].argmax()]
        assert peak == pytest.approx(wavenumber, abs=3)
        expected = np.cos(2 * np.pi * wavenumber * LIGHT * found.times)
        assert found.correlation[name] == pytest.approx(expected, abs=0.01)
    assert np.trapezoid(found.states["all"], found.wavenumbers) == pytest.approx(1)
    assert found.states["all"] == pytest.approx(found.states["N"] + found.states["C"])
    # In the ratio of kinetic energies, which have the masses.
    share = np.trapezoid(found.states["N"], found.wavenumbers)
    assert share == pytest.approx(14.007 / (14.007 + 12.011), abs=0.01)
    assert found.highest == pytest.approx(1 / (4 * LIGHT))


def test_frames_too_rare_for_vibrations_are_remarked_on():
    remarks = analyse(vibrating(interval=20.0, count=100)).remarks
    assert any("vibrations up to 834 1/cm" in text for text in remarks)


def test_without_times_there_are_distances_but_no_diffusion():
    frames = [bulk("Cu") for _ in range(50)]
    found = analyse(frames)
    assert found.distances is not None
    assert found.diffusion is None
    assert any("No diffusion" in text and "--frame-interval" in text for text in found.remarks)
    with pytest.raises(ConfigError, match="--frame-interval"):
        analyse(frames, parts=["diffusion"])


def test_times_can_be_given():
    frames = list(walk(200, 5))
    for frame in frames:
        del frame.info["time_fs"]
    found = analyse(frames, frame_interval=10, every=2)
    assert found.interval == 20
    assert found.frames == 100


def test_other_times_than_those_of_the_file_are_refused():
    with pytest.raises(ConfigError, match="10 fs apart, as the file says, and not 5 fs"):
        analyse(walk(30, 5), frame_interval=5)


def test_frames_at_unequal_distances_are_refused():
    frames = list(walk(30, 5))
    del frames[7]
    with pytest.raises(ConfigError, match="intervals from 10 to 20 fs"):
        analyse(frames)


def test_without_momenta_there_are_no_velocities():
    with pytest.raises(ConfigError, match="no momenta"):
        analyse(walk(30, 5), parts=["velocities"])
    assert any("no momenta" in text for text in analyse(walk(30, 5)).remarks)


def test_velocities_need_times():
    frames = list(vibrating(count=30))
    for frame in frames:
        del frame.info["time_fs"]
    with pytest.raises(ConfigError, match="--frame-interval"):
        analyse(frames, parts=["velocities"])


def test_a_molecule_has_no_radial_distribution():
    with pytest.raises(ConfigError, match="periodic in three directions"):
        analyse([molecule("H2O")], parts=["rdf"])
    assert analyse([molecule("H2O")]).distances is None


@pytest.mark.parametrize(
    ("part", "message"),
    [("diffusion", "too short for diffusion: 4 blocks of 2 frames"), ("velocities", "16 frames")],
)
def test_short_trajectories_are_refused(part, message):
    with pytest.raises(SimulationError, match=message):
        analyse(vibrating(count=10), parts=[part])


def test_atoms_at_rest_have_no_correlation():
    frames = list(vibrating(count=20))
    for frame in frames:
        frame.set_momenta(np.zeros((4, 3)))
    with pytest.raises(SimulationError, match="All velocities are zero"):
        analyse(frames, parts=["velocities"])


@pytest.mark.parametrize("other", [bulk("Ag"), bulk("Cu") * (2, 1, 1)])
def test_other_atoms_are_refused(other):
    with pytest.raises(StructureError, match="same atoms in the same order.*frame 1"):
        analyse([bulk("Cu"), other])


def test_no_frame_is_refused():
    with pytest.raises(StructureError, match="Expected frames after the first 5, got none"):
        analyse([bulk("Cu")] * 3, skip=5)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(StructureError, match="no file"):
        analyse(tmp_path / "missing.xyz")


def test_a_broken_frame_is_named(tmp_path):
    path = tmp_path / "a.extxyz"
    write(path, [bulk("Cu")] * 3)
    lines = path.read_text().splitlines()
    lines[5] = "Cu 0.0 nonsense 0.0"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StructureError, match=r"a.extxyz\[1\]"):
        analyse(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit_start": 2, "fit_end": 1}, "fit_end must be after fit_start"),
        ({"rdf_max": 1, "rdf_width": 0.8}, "at most half of rdf_max"),
    ],
)
def test_impossible_options_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        analyse([], **changes)


def test_curves_are_what_frames_say():
    frames = []
    for i in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.set_momenta(np.full((4, 3), 0.1 * (i + 1)))
        stress = np.array([-1.0, -1, -1, 0, 0, 0]) * units.GPa
        atoms.calc = SinglePointCalculator(atoms, energy=float(i), stress=stress)
        atoms.info["time_fs"] = 5.0 * i
        frames.append(atoms)
    curves = analyse(frames).curves
    assert curves["time_fs"].tolist() == [0, 5, 10]
    assert curves["potential_eV"].tolist() == [0, 1, 2]
    assert curves["temperature_K"] == pytest.approx([a.get_temperature() for a in frames])
    assert (curves["pressure_GPa"] > 1).all()
    assert curves["volume_A3"] == pytest.approx(frames[0].get_volume())


def test_what_only_some_frames_say_is_no_curve():
    frames = [bulk("Cu"), bulk("Cu")]
    frames[0].calc = SinglePointCalculator(frames[0], energy=1.0)
    assert "potential_eV" not in analyse(frames).curves


def test_our_own_dynamics_are_read(tmp_path):
    md(bulk("Al", cubic=True), EMT(), steps=120, traj_every=2, timestep=2.0, out=tmp_path / "al")
    found = analyse(tmp_path / "al-traj.extxyz", skip=1)
    assert found.frames == 60
    assert found.interval == pytest.approx(4.0)
    assert None not in (found.distances, found.diffusion, found.velocities)
    assert {"temperature_K", "total_eV", "volume_A3"} <= found.curves.keys()


def test_trajectories_of_ase_are_read(tmp_path):
    write(tmp_path / "a.traj", list(walk(40, 5)))
    assert analyse(tmp_path / "a.traj", frame_interval=10).diffusion is not None
