"""Phases of relaxed crystals, and crystals of other symmetry than was asked for."""

import io
import zipfile
from contextlib import nullcontext

import pytest
import torch
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.io import read

from matkit.crystals.evaluation import evaluate_crystals
from matkit.crystals.generation import CrystalOptions, room
from matkit.crystals.generation.phases import findings, maker_cells, phase_cells
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.parallel import Pool
from matkit.crystals.reading import crystal_of
from matkit.errors import ConfigError
from matkit.generate import relaxing
from matkit.generate.batch import Batch
from matkit.generate.run import generate
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.options import build

POOL = Pool(10.0)


def batch():
    """Copper twice, once larger; body-centred copper; silver; and one that was not relaxed."""
    crystals = {
        0: (bulk("Cu", "bcc", a=2.9), -3.4),
        1: (bulk("Cu", a=3.6, cubic=True), -3.5),
        2: (bulk("Cu", a=3.62), -3.51),
        3: (bulk("Ag"), -2.5),
    }
    for number, (atoms, _) in crystals.items():
        atoms.info["crystal"] = number
    rows = {n: {"status": "done", "energy_after": energy} for n, (_, energy) in crystals.items()}
    rows[4] = {"status": "failed", "reason": "not converged"}
    frames = [atoms for atoms, _ in crystals.values()]
    return Batch("crystal", frames, rows, dict(enumerate(frames)), rows)


def found(wanted=None):
    return _findings(batch(), wanted)


def _findings(made, wanted=None):
    drawn = evaluate_crystals(
        {"generated": [crystal_of(a, "") for a in made.generated]}, CrystalsOptions()
    )
    return findings(made, drawn, wanted, POOL)


def test_phases_are_ranked_by_energy_within_a_formula():
    copper, soft, silver = found().phases
    assert copper.members == (2, 1)
    assert (copper.symbol, soft.symbol) == ("Fm-3m (225)", "Im-3m (229)")
    assert (copper.above_best, silver.above_best) == (0, 0)
    assert soft.above_best == pytest.approx(0.11)
    assert [row[:4] for row in phase_cells([copper, soft, silver])[1:]] == [
        ["Cu", "Fm-3m (225)", "0.0", "2"],
        ["Cu", "Im-3m (229)", "110.0", "1"],
        ["Ag", "Fm-3m (225)", "0.0", "1"],
    ]


def test_phases_say_which_generators_made_them():
    assert maker_cells(found().phases) == []
    made = batch()
    for number, name in ((0, "network"), (1, "prototypes"), (2, "network"), (3, "prototypes")):
        made.relaxed[number].info["generator"] = name
    phases = _findings(made).phases
    assert [row[-1] for row in phase_cells(phases)] == [
        "generator",
        "network, prototypes",
        "network",
        "prototypes",
    ]
    assert maker_cells(phases)[1:] == [
        ["network", "2", "1 of 2", "0.0"],
        ["prototypes", "2", "2 of 2", "0.0"],
    ]


def test_the_group_that_was_asked_for_is_counted_as_drawn_and_relaxed():
    assert found().scores == []
    drawn, relaxed = found(225).scores
    assert (drawn.of, relaxed.of) == ("3 of 4", "3 of 4")
    assert drawn.value == 0.75


def test_what_is_unlike_the_request():
    free, asked = CrystalOptions(formula="Cu"), CrystalOptions(formula="Cu", space_group="225")
    soft = bulk("Cu", "bcc", a=2.9)
    assert room.unlike(free, soft) == ""
    assert room.unlike(asked, bulk("Cu")) == ""
    assert room.unlike(asked, soft) == "its space group is Im-3m (229), not Fm-3m (225)"


def test_strict_symmetry_needs_a_group():
    with pytest.raises(ConfigError, match="give space_group"):
        build(CrystalOptions, {"strict_symmetry": True})


class Springs(LennardJones):
    """Knows what a potential of matkit knows, and where it runs."""

    species = (11, 17)
    info = {"model": "springs"}  # noqa: RUF012
    device = "cpu"


@pytest.fixture
def relaxed(tmp_path, monkeypatch):
    """Return a function that generates NaCl in a group and relaxes it by a Lennard-Jones force."""
    torch.manual_seed(0)
    size = {"width": 16, "layers": 2, "harmonics": 4, "time_channels": 8, "miller": 0}
    given = {"species": [11, 17], "max_atoms": 8, **size}
    generator = checkpoint.build("crystalflow", given, Generator).eval()
    monkeypatch.setattr(relaxing, "_calculator", lambda _: Springs(sigma=2.5, epsilon=0.1, rc=9))

    def run(**changes):
        wanted = {"formula": "NaCl", "num_samples": 3, "steps": 2, "relax": "springs"}
        options = build(CrystalOptions, {**wanted, "out": str(tmp_path / "o"), **changes})
        return generate(generator, options, lambda stage: nullcontext()), tmp_path / "o"

    return run


def test_relaxed_crystals_keep_the_group_and_carry_their_results(relaxed):
    made, folder = relaxed(space_group="225")
    assert [score.value for score in made.evaluation.scores] == [1.0, 1.0]
    for atoms in read(folder / "relaxed.extxyz", ":"):
        number = atoms.info["crystal"]
        energy = made.relaxation[number]["energy_after"] * len(atoms)
        assert atoms.get_potential_energy() == pytest.approx(energy)
        assert abs(atoms.get_forces()).max() < 0.05
        assert atoms.get_stress().shape == (6,)


def test_phases_are_in_the_archive_as_symmetric_as_they_are(relaxed):
    made, _ = relaxed(space_group="225")
    names = zipfile.ZipFile(io.BytesIO(room.archive(made, False)))
    text = names.read("phases/001-NaCl.cif").decode()
    assert "Fm-3m" in text
    assert {row["phase"] for row in room.rows(made)} == {1}
    assert "Relaxed phases" in room.sections(made)[0]


def test_strict_symmetry_rejects_what_is_unlike(relaxed, monkeypatch):
    monkeypatch.setattr(room, "unlike", lambda options, atoms: "it is unlike")
    free, _ = relaxed(space_group="225")
    assert len(free.generated) == 3
    assert all(row["redrawn"] == 3 for row in free.rows.values())
    strict, _ = relaxed(space_group="225", strict_symmetry=True, overwrite=True)
    assert not strict.generated
    assert {row["reason"] for row in strict.rows.values()} == {"it is unlike"}


def test_strict_symmetry_rejects_what_relaxes_to_another_group(relaxed, monkeypatch):
    # Relaxed crystals alone carry results.
    monkeypatch.setattr(room, "unlike", lambda _, atoms: "it changed" if atoms.calc else "")
    strict, _ = relaxed(space_group="225", strict_symmetry=True)
    assert {row["reason"] for row in strict.relaxation.values()} == {"it changed"}
    assert not strict.relaxed
