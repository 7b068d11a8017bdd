from contextlib import nullcontext

import pytest
import torch
from ase.io import read

from matkit.crystals.generation import CrystalOptions
from matkit.crystals.generation.room import fault
from matkit.generate import sampling
from matkit.generate.domains import room_of
from matkit.generate.run import generate
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.runs.items import Item


@pytest.fixture
def generator():
    torch.manual_seed(0)
    size = {"width": 16, "layers": 2, "harmonics": 4, "time_channels": 8, "miller": 0}
    given = {"species": [8, 11, 17], "max_atoms": 8, **size}
    return checkpoint.build("crystalflow", given, Generator).eval()


def made(generator, redraw, count=40, first=0):
    options = CrystalOptions(redraw=redraw)
    sampler = sampling.Sampler(generator, 2, options, room_of("crystal"))
    items = [Item(i, f"{i}", (i, 6, 11, 11, 11, 17, 17, 17)) for i in range(first, first + count)]
    return sampler(items)


def test_crystals_whose_atoms_overlap_are_drawn_again(generator):
    raw, better = made(generator, 0), made(generator, 5)
    bad = [bool(fault(outcome.frames[0])) for outcome in raw]
    assert 4 < sum(bad) < 36
    left = [bool(fault(outcome.frames[0])) for outcome in better]
    assert sum(left) < 0.5 * sum(bad)
    for before, after, overlapped in zip(raw, better, bad, strict=True):
        same = before.frames[0] == after.frames[0]
        assert same != overlapped
        assert (after.facts["redrawn"] > 0) == overlapped
        assert before.facts["redrawn"] == 0


def test_what_is_drawn_again_depends_on_the_crystal_alone(generator):
    together, alone = made(generator, 5), made(generator, 5, count=1, first=3)
    torch.testing.assert_close(
        together[3].frames[0].positions, alone[0].frames[0].positions, rtol=0, atol=1e-4
    )
    assert together[3].facts["redrawn"] == alone[0].facts["redrawn"]


def test_the_results_say_how_many_were_drawn_again(generator, tmp_path):
    from matkit.crystals.generation.results import rows
    from matkit.generate.results import counts

    options = CrystalOptions(formula="Na3Cl3", num_samples=20, steps=2, out=str(tmp_path))
    batch = generate(generator, options, lambda stage: nullcontext())
    redrawn = [row["redrawn"] for row in rows(batch)]
    assert counts(batch)["redrawn"] == sum(times > 0 for times in redrawn) > 0
    assert len(read(tmp_path / "generated.extxyz", ":")) == 20
