"""Matches, repeats and time-outs against pymatgen itself and hand-made crystals."""

import math
import threading
import time

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from matkit.crystals.matching import DEFAULT, PUBLISHED, distances, repeats_of, repeats_within
from matkit.crystals.parallel import Pool, open_pool, with_timeout
from tests.crystals import samples

POOL = Pool(60.0)


def shaken(structure, size, seed=0):
    copy = structure.copy()
    copy.perturb(size, min_distance=0.5 * size, seed=seed)
    return copy


def compute(seconds):
    """Keep the processor busy for so long, however many others want it."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_disguised_crystal_is_the_same():
    made = [samples.salt(), samples.perovskite(), samples.wurtzite()]
    pairs = [(samples.disguised(s, i), s) for i, s in enumerate(made)]
    assert distances(pairs, PUBLISHED, POOL) == pytest.approx([0.0] * 3, abs=1e-6)


def test_distances_as_of_pymatgen():
    pairs = [(shaken(samples.perovskite(), 0.3, i), samples.perovskite()) for i in range(4)]
    matcher = StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10)
    expected = [matcher.get_rms_dist(*pair)[0] for pair in pairs]
    assert distances(pairs, PUBLISHED, POOL) == pytest.approx(expected)
    assert min(expected) > 0.01


def test_defaults_are_those_of_pymatgen():
    matcher = StructureMatcher()
    assert (DEFAULT.ltol, DEFAULT.stol, DEFAULT.angle_tol) == (
        matcher.ltol,
        matcher.stol,
        matcher.angle_tol,
    )


def test_published_tolerances_are_wider():
    stretched = samples.wurtzite()
    stretched.apply_strain([0, 0, 0.35])
    found = [distances([(stretched, samples.wurtzite())], t, POOL) for t in (PUBLISHED, DEFAULT)]
    assert found[0][0] is not None
    assert found[1] == [None]


def test_no_match_and_no_prediction():
    pairs = [(samples.salt(), samples.perovskite()), None]
    assert distances(pairs, PUBLISHED, POOL) == [None, None]


def test_repeats_within():
    made = [
        samples.salt(),
        samples.caesium_chloride(),
        None,
        samples.disguised(samples.salt()),
        samples.perovskite(),
        samples.disguised(samples.caesium_chloride()),
        samples.salt(4.7, "F"),
    ]
    found = repeats_within(made, DEFAULT, POOL)
    assert found.like == (None, None, None, 0, None, 1, None)
    assert found.undecided == 0


def test_repeats_of_known():
    known = [None, samples.perovskite(), samples.caesium_chloride(), samples.salt()]
    made = [samples.disguised(samples.salt()), samples.wurtzite(), None, samples.perovskite()]
    assert repeats_of(made, known, DEFAULT, POOL).like == (3, None, None, 1)


def test_processes_find_the_same():
    made = [samples.salt(), samples.disguised(samples.salt()), samples.caesium_chloride()]
    with open_pool(2, 60.0) as pool:
        assert pool.executor is not None
        assert repeats_within(made, DEFAULT, pool) == repeats_within(made, DEFAULT, POOL)


def test_what_takes_too_long_is_counted(monkeypatch):
    def slow(self, *structures, **options):
        compute(30.0)
        return [0.0]

    monkeypatch.setattr(StructureMatcher, "get_rms_dist", slow)
    monkeypatch.setattr(StructureMatcher, "fit", slow)
    pool = Pool(0.05)
    assert distances([(samples.salt(), samples.salt())], PUBLISHED, pool) == [math.inf]
    found = repeats_of([samples.salt()], [samples.salt()], DEFAULT, pool)
    assert found.like == (None,)
    assert found.undecided == 1


def test_a_failure_of_the_matcher_is_undecided(monkeypatch):
    def fail(self, *structures, **options):
        raise ValueError("singular")

    monkeypatch.setattr(StructureMatcher, "get_rms_dist", fail)
    monkeypatch.setattr(StructureMatcher, "fit", fail)
    assert distances([(samples.salt(), samples.salt())], PUBLISHED, POOL) == [math.inf]
    found = repeats_within([samples.salt(), samples.salt()], DEFAULT, POOL)
    assert found.like == (None, None)
    assert found.undecided == 1


def test_a_cell_that_cannot_be_reduced_is_undecided(monkeypatch):
    def fail(self, *options):
        raise ValueError("no Niggli cell")

    monkeypatch.setattr(Structure, "get_reduced_structure", fail)
    found = repeats_of([samples.salt()], [samples.salt(), samples.salt()], DEFAULT, POOL)
    assert found.like == (None,)
    assert found.undecided == 2


def test_repeats_as_of_pymatgen():
    rng = np.random.default_rng(0)
    random = [
        Structure(Lattice.orthorhombic(*rng.uniform(3, 6, 3)), ["C"] * 4, rng.random((4, 3)))
        for _ in range(12)
    ]
    known = random[:7]
    made = [*random[7:], *(shaken(samples.disguised(s), 0.2) for s in known)]
    matcher = StructureMatcher()
    expected = tuple(
        next((i for i, other in enumerate(known) if matcher.fit(s, other)), None) for s in made
    )
    assert repeats_of(made, known, DEFAULT, POOL).like == expected
    assert None in expected
    assert len({*expected}) > 3


def test_a_timeout():
    assert with_timeout(math.hypot, (3, 4), 5.0) == 5
    with pytest.raises(TimeoutError, match="out of time"):
        with_timeout(compute, (30.0,), 0.05)
    compute(0.1)  # no alarm is left that would go off here


def test_waiting_for_a_busy_machine_does_not_count():
    assert with_timeout(time.sleep, (0.3,), 0.1) is None


def test_another_thread_has_no_limit():
    found = []
    thread = threading.Thread(target=lambda: found.append(with_timeout(abs, (-1,), 1e-6)))
    thread.start()
    thread.join()
    assert found == [1]
