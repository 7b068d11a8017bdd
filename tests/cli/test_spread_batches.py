"""Relaxations and single points over workers: the same results, in order, and nothing lost."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from matkit.calculator import MatkitCalculator
from matkit.cli import spread_batches
from matkit.runs.spreading import Work
from tests.simulate.morse import Morse


@pytest.fixture
def many(cli, monkeypatch):
    """Six crystals in a file, a potential that batches know, and threads as workers."""
    frames = [bulk("Cu", cubic=True) for _ in range(6)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    write("many.xyz", frames)
    cli.calculator = lambda: MatkitCalculator(Morse(), device="cpu", dtype="float64")
    cli.opened = []

    @contextmanager
    def threads(where, workers):
        cli.opened.append((where, workers))
        with ThreadPoolExecutor(workers) as executor:
            yield None if (where, workers) == ("local", 1) else executor

    monkeypatch.setattr(spread_batches, "open_executor", threads)
    monkeypatch.setattr(spread_batches, "ATOMS", 8)
    spread_batches._calculator.cache_clear()
    yield "many.xyz"
    spread_batches._calculator.cache_clear()


@pytest.mark.parametrize("command", ["relax", "singlepoint"])
def test_workers_give_the_same_results_in_the_same_order(cli, many, command):
    cli(command, many, "-o", "here")
    cli(command, many, "-o", "there", "--workers", 2, "--executor", "parsl")
    assert cli.opened == [("local", 1), ("parsl", 2)]
    kind = {"relax": "relaxed"}.get(command, command)
    here, there = (read(cli.folder / o / f"many-{kind}.extxyz", ":") for o in ("here", "there"))
    assert len(here) == 6
    for one, other in zip(here, there, strict=True):
        assert one.positions == pytest.approx(other.positions, abs=1e-6)
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-6)


def test_a_run_goes_on_with_other_workers(cli, many):
    cli("relax", many)
    done = cli("relax", many, "--restart", "auto", "--workers", 2)
    assert done.stdout.count("done before") == 6


def test_structures_whose_workers_die_are_told_and_the_others_are_done(cli, many, monkeypatch):
    def spread(chunks, work: Work, executor, in_flight):
        for chunk in chunks:
            if chunk[0].index == 2:
                yield [spread_batches.ItemResult(i, "failed", reason="it died") for i in chunk]
            else:
                yield work(chunk)

    monkeypatch.setattr(spread_batches, "spread", spread)
    cli("relax", many, "--workers", 2, code=1)
    rows = cli.summary("many")["structures"]
    assert [row["reason"] for row in rows] == ["converged"] * 2 + ["error"] * 2 + ["converged"] * 2
    assert rows[2]["message"] == "it died"


def test_ctrl_c_leaves_what_workers_have_finished(cli, many, monkeypatch):
    def spread(chunks, work, executor, in_flight):
        yield work(next(chunks))
        raise KeyboardInterrupt

    monkeypatch.setattr(spread_batches, "spread", spread)
    cli("relax", many, "--workers", 2, code=130)
    reasons = [row["reason"] for row in cli.summary("many")["structures"]]
    assert reasons == ["converged"] * 2 + ["interrupted"] * 4


def test_workers_are_refused_where_structures_go_one_after_another(cli, many):
    words = ["relax", many, "--workers", 2]
    assert "one after another" in cli(*words, "--batch-size", 1, code=2).stderr
    cli.calculator = EMT
    assert "one after another" in cli(*words, code=2).stderr
    cli("relax", many)
