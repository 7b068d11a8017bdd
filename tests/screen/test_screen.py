"""A screening from candidates to verdicts, with EMT; whatever ends it, it goes on."""

import csv
import json
import random
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.io import read, write

from matkit import screen
from matkit.errors import ConfigError, SimulationError
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.runs.items import Item
from matkit.screen import relaxation
from matkit.screen.relaxation import relaxed
from tests.report.sources import external_sources
from tests.screen.conftest import candidates, quick


def table(folder, suffix=""):
    return list(csv.DictReader((folder / f"table{suffix}.csv").read_text().splitlines()))


def test_every_candidate_gets_a_verdict_with_its_reason(crystals, emt):
    found = screen(quick(struct=crystals, hull="hull.csv"))
    told = {
        row["candidate"]: (row["verdict"], row["stopped_at"], row["reason"]) for row in found.rows
    }
    assert told[0] == ("stable", "", "")
    assert told[1] == ("duplicate", "dedupe", "duplicate of 0")
    assert told[2] == ("stable", "", "")
    assert told[3][:2] == ("dynamically unstable", "phonons")
    assert told[3][2].startswith("imaginary mode of ")
    assert told[4] == ("failed", "relax", "NotImplementedError: No EMT-potential for U")
    assert told[5][2] == "expected a cell periodic in three directions, got [False, False, False]"
    assert found.counts == {"stable": 2, "dynamically unstable": 1, "duplicate": 1, "failed": 2}
    assert found.failed[0] == ("crystals.extxyz[4]", "NotImplementedError: No EMT-potential for U")
    copper = next(row for row in found.rows if row["candidate"] == 0)
    assert copper["bulk_modulus"] == pytest.approx(134, abs=2)
    assert copper["highest_frequency"] > 5

    folder = emt / "screening"
    rows = table(folder)
    assert [int(row["candidate"]) for row in rows] == [2, 0, 3, 1, 4, 5]
    assert [row["rank"] for row in rows] == ["1", "2", "", "", "", ""]
    crystals = read(folder / "survivors.extxyz", ":")
    assert [atoms.info["candidate"] for atoms in crystals] == [2, 0]
    assert crystals[0].info["above_hull"] == found.rows[0]["above_hull"]
    with zipfile.ZipFile(folder / "survivors.zip") as archive:
        assert archive.namelist() == ["00002-Au.cif", "00000-Cu.cif"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["counts"]["stable"] == 2
    assert any("-0.1 THz" in text for text in summary["thresholds"])
    page = (folder / "report.html").read_text()
    assert page.count("<canvas") == 2
    assert page.count("data:image/png") == 1
    assert "duplicate of 0" in page
    assert external_sources(page) == []
    assert "max_above_hull: 0.1" in (folder / "config.yaml").read_text()


def test_what_lies_far_below_the_hull_lacks_its_competitors(crystals, emt, caplog):
    (emt / "high.csv").write_text("formula,energy_per_atom\nCu,1.0\nAu,0.0\n")
    screen(quick(struct=crystals, hull="high.csv", steps="relax,hull"))
    assert "candidates lie more than 0.2 eV/atom below the hull (Cu" in caplog.text


def test_what_is_above_the_hull_or_cannot_be_placed_goes_no_further(emt):
    write("two.extxyz", [bulk("Cu", "bcc", a=2.9), bulk("Ag")])
    (emt / "hull.csv").write_text("formula,energy_per_atom\nCu,-0.1\n")
    found = screen(quick(struct="two.extxyz", hull="hull.csv", max_above_hull=0.05))
    told = {
        row["candidate"]: (row["verdict"], row["stopped_at"], row["reason"]) for row in found.rows
    }
    assert told[0] == (
        "unstable",
        "hull",
        "0.126 eV/atom above the hull, more than max_above_hull 0.05",
    )
    assert told[1] == ("failed", "hull", "the references lack pure Ag")


def test_a_survivor_above_the_hull_is_metastable(emt):
    write("one.extxyz", bulk("Cu"))
    (emt / "hull.csv").write_text("formula,energy_per_atom\nCu,-0.05\n")
    found = screen(quick(struct="one.extxyz", hull="hull.csv", steps="relax,hull"))
    assert found.rows[0]["verdict"] == "metastable by 0.043 eV/atom"
    assert found.counts == {"metastable": 1}


def test_a_crystal_that_a_strain_destroys_is_mechanically_unstable(emt):
    write("soft.extxyz", bulk("Cu", "bcc", a=2.9))
    found = screen(quick(struct="soft.extxyz", steps="relax,elastic"))
    assert found.rows[0]["verdict"] == "mechanically unstable"
    assert "GPa lowers the energy" in found.rows[0]["reason"]


def test_a_relaxation_that_does_not_end_has_failed(emt):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.2, seed=1)
    write("far.extxyz", atoms)
    found = screen(quick(struct="far.extxyz", steps="relax", relax_steps=1))
    assert "not relaxed after 2 steps" in found.rows[0]["reason"]


def test_what_a_file_holds_fixed_is_relaxed_too(emt):
    atoms = bulk("Cu", cubic=True)
    atoms.positions[0, 0] += 0.3
    atoms.set_constraint(FixAtoms([0, 1]))
    write("fixed.traj", atoms)
    found = screen(quick(struct="fixed.traj", steps="relax"))
    assert found.rows[0]["energy_per_atom"] == pytest.approx(-0.007, abs=1e-3)


def test_ctrl_c_in_a_relaxation_is_no_result(emt, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("matkit.simulate.batched.relaxations.relax", stop)
    with pytest.raises(KeyboardInterrupt):
        relaxed(quick(), [Item(0, "cu", bulk("Cu"))])


def test_nothing_survives_and_there_still_is_a_report(emt):
    write("unknown.extxyz", bulk("U", "fcc", a=4.4))
    found = screen(quick(struct="unknown.extxyz"))
    assert found.counts == {"failed": 1}
    assert (emt / "screening" / "survivors.extxyz").read_text() == ""
    assert (emt / "screening" / "report.html").is_file()


def test_the_same_command_does_nothing_twice_and_goes_on_with_further_steps(crystals, monkeypatch):
    first = screen(quick(struct=crystals, steps="relax,dedupe"))
    monkeypatch.setattr(relaxation, "relax_many", None)
    again = screen(quick(struct=crystals, steps="relax,dedupe"))
    assert again.rows == first.rows
    more = screen(quick(struct=crystals, steps="relax,dedupe,hull", hull="hull.csv"))
    assert more.counts == {"stable": 2, "metastable": 1, "duplicate": 1, "failed": 2}


def test_another_threshold_is_another_screening(crystals):
    screen(quick(struct=crystals, steps="relax"))
    with pytest.raises(ConfigError, match="fmax = 0.05 then, 0.1 now"):
        screen(quick(struct=crystals, steps="relax", fmax=0.1))
    screen(quick(struct=crystals, steps="relax", fmax=0.1, overwrite=True))


def test_shards_are_joined_by_the_last_of_them(crystals, emt):
    whole = screen(quick(struct=crystals, steps="relax,dedupe", out="whole"))
    first = screen(quick(struct=crystals, steps="relax,dedupe", shard="1/2"))
    assert [row["candidate"] for row in first.rows] == [0, 2, 4]
    assert not (emt / "screening" / "table.csv").exists()
    both = screen(quick(struct=crystals, steps="relax,dedupe", shard="2/2"))
    assert len(both.rows) == len(whole.rows) == 6
    assert len(table(emt / "screening")) == 6
    # The copper in the other part is not known to be the same.
    assert both.counts == {"passed": 4, "failed": 2}
    assert "within each of the 2 parts only" in both.document["thresholds"][-1]


def test_an_executor_that_cannot_be_had_ends_it_before_the_work(crystals, emt, monkeypatch):
    monkeypatch.setattr("matkit.runs.executors.REACH", 0.2)
    with pytest.raises(SimulationError, match="Nothing was computed"):
        screen(quick(struct=crystals, executor="dask:tcp://127.0.0.1:1"))
    assert not (emt / "screening").exists()


def test_crystals_are_generated_and_screened(emt):
    small = {"width": 16, "layers": 2, "harmonics": 4, "time_channels": 8, "miller": 2}
    made = checkpoint.build(
        "crystalflow", {"species": [13, 29], "max_atoms": 8, **small}, Generator
    )
    checkpoint.save(made, "small.safetensors")
    words = {"generator": "small.safetensors", "formula": "CuAl", "steps": "relax"}
    found = screen(quick(generate=3, relax_steps=3, **words))
    assert {row["source"] for row in found.rows} == {f"generated[{i}]" for i in range(3)}
    again = screen(quick(generate=3, relax_steps=3, **words))
    assert again.rows == found.rows


def test_known_prototypes_are_candidates_too(emt):
    words = {"generator": "prototypes", "formula": "Cu3Au", "steps": "relax"}
    found = screen(quick(generate=2, relax_steps=1, **words))
    assert [row["formula"] for row in found.rows] == ["AuCu3", "AuCu3"]


@pytest.mark.parametrize("step", ["relax", "dedupe", "hull"])
@pytest.mark.parametrize("lines", [0, 1, 2])
def test_a_step_that_was_cut_short_is_finished(crystals, emt, step, lines):
    """What a kill leaves: some lines, one that is torn, and no files of later steps."""
    words = {"struct": crystals, "hull": "hull.csv", "steps": "relax,dedupe,hull"}
    whole = screen(quick(**words))
    folder, names = emt / "screening", ["relax", "dedupe", "hull"]
    ledger = folder / f"{step}.jsonl"
    rows = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(rows[:lines]) + rows[lines][:20])
    for later in names[names.index(step) + 1 :]:
        for path in folder.glob(f"{later}.*"):
            path.unlink()
    assert screen(quick(**words)).rows == whole.rows


# EMT in the place of the model, slowed down so that a kill falls into the work.
KILL = (
    "import time, ase.calculators.emt, matkit.cli\n"
    "from matkit.screen import model as m\n"
    "class Slow(ase.calculators.emt.EMT):\n"
    "    def calculate(self, *words, **named):\n"
    "        time.sleep({delay})\n"
    "        super().calculate(*words, **named)\n"
    "m.load_calculator = lambda *names, **settings: Slow()\n"
    "matkit.cli.main()"
)


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(crystals, emt):
    frames = candidates() + [bulk("Cu", cubic=True) for _ in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.01, seed=seed)
    write("many.extxyz", frames)
    words = ["screen", "many.extxyz", "--steps", "relax,dedupe,hull", "--hull", "hull.csv"]
    words += ["--batch-atoms", "1", "--fmax", "0.05", "--quiet", "--out"]
    fast, slow = ([sys.executable, "-c", KILL.format(delay=d)] for d in (0.0, 0.05))
    subprocess.run([*fast, *words, "whole"], check=False, capture_output=True)
    ledger = emt / "killed" / "relax.jsonl"
    for wanted in (1, 3, 7):
        with subprocess.Popen([*slow, *words, "killed"], stdout=-3, stderr=-3) as process:
            while not ledger.exists() or ledger.read_bytes().count(b"\n") < wanted:
                assert process.poll() is None
                time.sleep(0.002)
            time.sleep(random.uniform(0.0, 0.05))
            process.kill()
            assert process.wait() == -signal.SIGKILL
        assert ledger.read_bytes().count(b"\n") >= wanted  # what was finished is there
    subprocess.run([*fast, *words, "killed"], check=False, capture_output=True)
    assert table(emt / "killed") == table(emt / "whole")
    crystals = [read(emt / out / "survivors.extxyz", ":") for out in ("killed", "whole")]
    for one, other in zip(*crystals, strict=True):
        assert np.array_equal(one.positions, other.positions)
