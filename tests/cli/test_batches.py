"""Commands that compute structures of many files in batches."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from matkit.calculator import MatkitCalculator
from tests.simulate.morse import Morse

ROOT = Path(__file__).parents[2]


def calculator():
    return MatkitCalculator(Morse(), device="cpu")


@pytest.fixture
def batches(cli):
    cli.calculator = calculator
    return cli


def crystals(number=5):
    rng = np.random.default_rng(1)
    found = []
    for i in range(number):
        atoms = bulk("Cu", a=3.6, cubic=True) * (1, 1, 1 + i % 2)
        atoms.positions += rng.normal(scale=0.02 + 0.03 * (number - i), size=atoms.positions.shape)
        found.append(atoms)
    return found


def frames(path):
    return read(path, ":", "extxyz")


def test_results_are_those_one_by_one_in_the_order_of_the_input(batches):
    write("many.extxyz", crystals())
    words = ["relax", "many.extxyz", "--relax-cell"]
    batches(*words)
    batches(*words, "--batch-size", 1, "-o", "alone")
    together, alone = (frames(f"{out}/many-relaxed.extxyz") for out in ("results", "alone"))
    assert [atoms.info["frame"] for atoms in together] == list(range(5))
    for one, two in zip(together, alone, strict=True):
        assert one.positions == pytest.approx(two.positions, abs=1e-6)
        assert one.get_potential_energy() == pytest.approx(two.get_potential_energy(), abs=1e-8)
    rows, expected = (batches.summary("many", out)["structures"] for out in ("results", "alone"))
    assert [row.keys() for row in rows] == [row.keys() for row in expected]
    assert [row["steps"] for row in rows] == [row["steps"] for row in expected]


def test_many_files_share_batches_and_keep_results_of_their_own(batches):
    names = []
    for i, atoms in enumerate(crystals(4)):
        names.append(f"c{i}.extxyz")
        write(names[-1], atoms)
    result = batches("relax", *names)
    assert result.stdout.count("converged") == 4
    for i in range(4):
        (row,) = batches.summary(f"c{i}")["structures"]
        assert (row["source"], row["converged"]) == (f"c{i}.extxyz", True)
        assert len(frames(f"results/c{i}-relaxed.extxyz")) == 1


def test_broken_structures_among_many(batches):
    write("good.extxyz", crystals(3))
    write("gold.extxyz", [bulk("Au"), bulk("Cu")])
    with open("torn.extxyz", "w") as file:
        file.write("3\nLattice=")
    result = batches("singlepoint", "good.extxyz", "torn.extxyz", "gold.extxyz", code=1)
    assert "does not know Au" in result.stdout
    assert [row["reason"] for row in batches.summary("good")["structures"]] == ["done"] * 3
    assert [row["reason"] for row in batches.summary("gold")["structures"]] == ["error", "done"]
    (row,) = batches.summary("torn")["structures"]
    assert row["reason"] == "error"


def test_replicas_of_one_file_have_seeds_of_their_own(batches):
    atoms = bulk("Cu", cubic=True)
    write("cu.extxyz", [atoms] * 3)
    batches("md", "cu.extxyz", "cu.extxyz@0", "--steps", 20, "--temperature", 500)
    momenta = [frames(f"results/cu-{i}-traj.extxyz")[0].get_momenta() for i in range(4)]
    assert len({tuple(momentum.ravel()) for momentum in momenta}) == 4
    one_by_one = ["md", "cu.extxyz", "--steps", 20, "--temperature", 500, "--batch-size", 1]
    batches(*one_by_one, "-o", "alone")
    for i in range(3):
        together, alone = (
            frames(f"{out}/cu-{i}-traj.extxyz")[-1].get_momenta() for out in ("results", "alone")
        )
        assert together == pytest.approx(alone)
    assert batches.summary("cu")["structures"][0]["steps"] == 20


def test_files_of_equal_stem_do_not_write_over_structures(batches):
    write("cu.extxyz", crystals(3))
    write("cu-2.extxyz", bulk("Cu"))
    batches("md", "cu.extxyz", "cu-2.extxyz", "cu.extxyz@0", "--steps", 2)
    assert len(frames("results/cu-2-traj.extxyz")[0]) == 4
    assert len(frames("results/cu-2-2-traj.extxyz")[0]) == 1
    assert len(frames("results/cu-3-traj.extxyz")[0]) == 4


def test_md_goes_on_in_batches(batches):
    write("cu.extxyz", [bulk("Cu", cubic=True)] * 2)
    short = ["md", "cu.extxyz", "--steps", 10, "--restart-every", 5]
    batches(*short)
    result = batches("md", "cu.extxyz", "--steps", 20, "--restart-every", 5, "--restart", "auto")
    assert result.stdout.count("went on from step 10") == 2


def test_done_structures_are_not_done_again(batches):
    write("many.extxyz", crystals(4))
    batches("relax", "many.extxyz")
    before = (batches.folder / "results/many-relaxed.extxyz").read_bytes()
    result = batches("relax", "many.extxyz", "--restart", "auto")
    assert result.stdout.count("done before") == 4
    assert (batches.folder / "results/many-relaxed.extxyz").read_bytes() == before
    write("many.extxyz", crystals(4)[:3] + crystals(5)[-1:])
    again = batches("relax", "many.extxyz", "--restart", "auto", "--batch-size", 2)
    assert again.stdout.count("done before") == 3


@pytest.mark.parametrize("size", ["0", "-3", "half"])
def test_impossible_sizes_of_batches(batches, size):
    write("many.extxyz", crystals(2))
    message = batches("relax", "many.extxyz", f"--batch-size={size}", code=2)
    assert "batch" in message.output


def test_a_full_disk_ends_the_batch(batches, monkeypatch):
    write("many.extxyz", crystals(4))
    from matkit.cli import products

    real, calls = products.append_frame, []

    def append(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr("matkit.cli.products.append_frame", append)
    batches("relax", "many.extxyz", code=1)
    reasons = [row["reason"] for row in batches.summary("many")["structures"]]
    assert sorted(reasons) == ["converged", "unwritten", "unwritten", "unwritten"]
    monkeypatch.undo()


KILL = """
import os, signal, sys
import matkit.cli.loading as loading, matkit.cli
from matkit.cli import products
from tests.cli.test_batches import calculator
loading.load_model = lambda config: calculator()
keep = products.Products.keep
def kept(self, *args):
    done = keep(self, *args)
    kept.count += 1
    if kept.count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
kept.count = 0
products.Products.keep = kept
sys.argv[0] = "matkit"
matkit.cli.main()
"""


def test_kill_in_the_middle_of_a_batch_loses_nothing_that_was_done(batches):
    write("many.extxyz", crystals(6))
    words = [sys.executable, "-c", KILL, "relax", "many.extxyz"]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(words, capture_output=True, env=here).returncode == -signal.SIGKILL
    result = batches("relax", "many.extxyz", "--restart", "auto")
    assert result.stdout.count("done before") == 3
    order = [atoms.info["frame"] for atoms in frames("results/many-relaxed.extxyz")]
    assert order == list(range(6))


def test_molecules_and_crystals_share_a_batch(batches):
    molecule = Atoms("Cu2", [[0, 0, 0], [2.4, 0, 0]])
    write("mixed.extxyz", [molecule, *crystals(2)])
    batches("singlepoint", "mixed.extxyz")
    results = [atoms.calc.results.keys() for atoms in frames("results/mixed-singlepoint.extxyz")]
    assert ["stress" in keys for keys in results] == [False, True, True]
