"""Several potentials side by side."""

import csv
import io
import json

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from matkit.errors import ConfigError, StructureError
from matkit.evaluate.physics.comparison.differences import item_difference
from matkit.evaluate.physics.comparison.items import Place
from matkit.evaluate.physics.comparison.published import BULK, SOURCES, SURFACES, published
from matkit.evaluate.physics.comparison.report import (
    comparison_document,
    comparison_lines,
    figures,
    physics_comparison,
)
from matkit.evaluate.physics.comparison.run import PhysicsEntry, compare_physics
from matkit.evaluate.physics.comparison.tables import as_csv, failure_rows, number_rows
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.evaluate.physics.quantities import conductivity, surface, vacancy, volume
from matkit.options import build


class Stiff(EMT):
    """EMT with all energies twice as large."""

    def calculate(self, *given):
        super().calculate(*given)
        for name in ("energy", "free_energy", "forces", "stress"):
            self.results[name] = 2 * self.results[name]


class CopperOnly(EMT):
    """EMT that says that it knows copper alone."""

    species = (29,)


class Broken(EMT):
    """A model whose every energy is an error of some library."""

    def calculate(self, *given):
        raise ZeroDivisionError("no energy today")


CRYSTALS = [bulk("Cu", a=3.59), bulk("Al", a=3.995)]


def options(folder, *quantities, **more):
    given = {"model": "one", "compare": ["two"], "quantities": quantities, "out": folder, **more}
    return build(PhysicsOptions, given)


def compare(folder, calcs, *quantities, **more):
    return compare_physics(calcs, CRYSTALS, options(folder, *quantities, **more))


@pytest.fixture
def cheap(monkeypatch):
    """Surfaces that cost nothing."""

    def numbers(sample, calc):
        return {"surface energy": {"(111)": sample.atoms.get_volume()}}

    monkeypatch.setattr(surface, "numbers", numbers)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    calcs = {"emt": EMT(), "stiff": Stiff(), "copper": CopperOnly(), "broken": Broken()}
    folder = tmp_path_factory.mktemp("numbers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vacancy, "FEWEST", 8)
        return compare(folder, calcs, "volume", "surface", "vacancy")


@pytest.fixture(scope="module")
def comparison(found):
    return physics_comparison(found)


def distance(comparison, model, number, against="emt"):
    (one,) = [
        d
        for d in comparison.distances
        if (d.model, d.number, d.against) == (model, number, against)
    ]
    return one


def test_a_stiffer_copy_differs_in_energies_alone(found, comparison):
    assert distance(comparison, "stiff", "volume").mean == pytest.approx(0.0, abs=1e-4)
    of_emt = [e.numbers["vacancy energy"][""] for e in found if "vacancy energy" in e.numbers][:2]
    mean = distance(comparison, "stiff", "vacancy energy")
    assert mean.mean == pytest.approx(np.mean(of_emt), rel=1e-3)
    assert (mean.items, mean.failed) == (2, 0)


def test_a_model_that_fails_stops_no_other(comparison):
    one = distance(comparison, "broken", "surface energy")
    assert (one.mean, one.items, one.failed) == (None, 0, 2)
    rows = failure_rows(comparison.entries)
    assert ["broken", "Cu", "volume", "ZeroDivisionError: no energy today"] in rows
    assert ["broken", "Cu", "surface", "the crystal could not be relaxed"] in rows
    assert "- (0, 2 failed)" in comparison_lines(comparison)


def test_elements_that_a_model_does_not_know_are_no_failure(comparison):
    one = distance(comparison, "copper", "volume")
    assert (one.mean, one.items, one.failed) == (0.0, 1, 0)
    reason = "the model does not know Al"
    assert ["copper", "Al", "vacancy", reason] in failure_rows(comparison.entries)


def test_published_numbers_are_further_references(found, comparison):
    one = distance(comparison, "emt", "volume", BULK)
    volumes = [e.numbers["volume"][""] for e in comparison.entries[:2]]
    assert one.mean == pytest.approx(np.abs(np.array(volumes) - [11.9511, 16.4796]).mean())
    known = [e for e in found if e.place.quantity == "surface" and e.model == "emt"]
    one = distance(comparison, "emt", "surface energy", SURFACES)
    surfaces = [e.numbers["surface energy"]["(111)"] for e in known]
    assert one.mean == pytest.approx(np.abs(np.array(surfaces) - [1.314, 0.795]).mean())
    assert list(comparison.tables()) == ["emt", BULK, SURFACES]
    sources = comparison_document(comparison)["published"]["sources"]
    assert "doi:10.1080" in sources[BULK]
    assert "doi:10.1038" in sources[SURFACES]


def test_published_numbers_are_of_the_same_structure():
    known = published([Place("elastic", "C2", bulk("C")), Place("elastic", "Si2", bulk("Si"))])
    assert [(e.place.subject, e.numbers) for e in known] == [
        ("Si2", {"bulk modulus": {"": 88.545}})
    ]
    assert published([Place("volume", "NaCl", bulk("NaCl", "rocksalt", a=5.6))]) == []
    assert published([Place("vacancy", "Cu", bulk("Cu"))]) == []
    crystals = {"W": bulk("W"), "W (2)": bulk("W", "fcc", a=4.0), "Si2": bulk("Si")}
    known = published([Place("surface", name, atoms) for name, atoms in crystals.items()])
    assert [(e.place.subject, e.numbers) for e in known] == [
        ("W", {"surface energy": {"(110)": 3.228}})
    ]


def test_every_number_is_in_the_tables(found, comparison):
    rows = list(csv.DictReader(io.StringIO(as_csv(found, "emt"))))
    assert len(rows) == sum(len(c) for e in found for c in e.numbers.values())
    surface_row = next(row for row in rows if row["quantity"] == "surface")
    assert (surface_row["component"], surface_row["unit"]) == ("(111)", "J/m²")
    assert surface_row["value"] == surface_row["reference"]
    head, *numbers = number_rows(found, ["emt", "broken"])
    assert head == ["of", "number", "unit", "emt", "broken"]
    assert {row[-1] for row in numbers} == {"-"}
    assert len(numbers) == 6
    beside = number_rows([*found, *comparison.published], ["emt", *SOURCES, "broken"])
    assert {len(row) for row in beside} == {7}
    assert beside[1][-3] == "11.95"
    assert json.dumps(comparison_document(comparison), allow_nan=False)
    assert [name for name, _ in figures(comparison)] == ["volume", "surface", "vacancy"]


def test_the_same_run_computes_nothing_again(tmp_path, cheap, monkeypatch):
    calcs = {"one": EMT(), "two": Stiff()}
    first = compare(tmp_path, calcs, "volume", "surface")
    monkeypatch.setattr(surface, "numbers", None)
    monkeypatch.setattr(volume, "numbers", None)
    assert compare(tmp_path, calcs, "volume", "surface") == first
    # Other models, crystals and quantities may be left out.
    again = compare_physics({"two": Stiff()}, CRYSTALS[1:], options(tmp_path, "surface"))
    assert again == [e for e in first if e.model == "two" and e.place.subject == "Al"]


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, cheap, monkeypatch):
    calcs = {"one": EMT(), "two": Stiff()}
    expected = compare(tmp_path / "whole", calcs, "volume", "surface")
    numbers, calls = surface.numbers, []

    def stops(sample, calc):
        calls.append(sample.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return numbers(sample, calc)

    monkeypatch.setattr(surface, "numbers", stops)
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path, calcs, "volume", "surface")
    # As after kill -9, in the middle of a line and of a structure.
    for name in ("numbers.jsonl", "numbers.extxyz"):
        with (tmp_path / name).open("ab") as stream:
            stream.write(b"1\nLatt")
    again = compare(tmp_path, calcs, "volume", "surface")
    assert calls == ["Cu", "Al", "Cu", "Cu", "Al"]
    assert [e.numbers for e in again] == [e.numbers for e in expected]


def test_models_and_quantities_can_be_added(tmp_path, cheap, monkeypatch):
    compare(tmp_path, {"one": EMT()}, "volume")
    calls, numbers = [], volume.numbers
    monkeypatch.setattr(volume, "numbers", lambda *given: calls.append(0) or numbers(*given))
    both = compare(tmp_path, {"two": Stiff(), "one": EMT()}, "surface")
    assert len(calls) == 2  # of the second model alone
    assert {e.status for e in both} == {"done"}
    assert [e.place.quantity for e in both[:4]] == ["volume", "volume", "surface", "surface"]


def test_what_failed_is_tried_again_if_asked(tmp_path):
    compare(tmp_path, {"one": Broken()}, "volume")
    kept = compare(tmp_path, {"one": EMT()}, "volume")
    assert {e.status for e in kept} == {"failed"}
    again = compare(tmp_path, {"one": EMT()}, "volume", retry_failed=True)
    assert {e.status for e in again} == {"done"}


def test_numbers_that_are_none_are_failures(tmp_path, monkeypatch):
    monkeypatch.setattr(surface, "numbers", lambda *given: {"surface energy": {"": np.nan}})
    entry = compare(tmp_path, {"one": EMT()}, "surface")[-1]
    assert (entry.status, entry.reason) == (
        "failed",
        "SimulationError: Expected a finite surface energy, got NaN or infinity.",
    )


def test_a_failure_counts_as_the_literature_has_it():
    place = Place("conductivity", "Cu", CRYSTALS[0])
    number = "mode conductivities"
    good = PhysicsEntry("one", place, "done", {number: {"1.1": 2.0}})
    other = PhysicsEntry("two", place, "done", {number: {"1.1": 2.0, "1.2": 1.0}})
    bad = PhysicsEntry("two", place, "failed", {}, "unstable")
    kind = conductivity.NUMBERS[number]
    assert item_difference(kind, number, good, good) == 0.0
    assert item_difference(kind, number, bad, good) == 2.0
    assert item_difference(kind, number, other, good) is None  # other modes


def test_other_settings_need_another_folder(tmp_path):
    compare(tmp_path, {"one": EMT()}, "volume")
    with pytest.raises(ConfigError, match=r"min_length = 8\.0 then, 6\.0 now"):
        compare(tmp_path, {"one": EMT()}, "volume", min_length=6.0)
    compare(tmp_path, {"one": EMT()}, "volume", min_length=6.0, overwrite=True)


def test_slabs_are_refused(tmp_path):
    slab = fcc111("Cu", (1, 1, 3), vacuum=7.0)
    with pytest.raises(StructureError, match="Expected crystals"):
        compare_physics({"one": EMT()}, [slab], options(tmp_path, "volume"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"compare": ["b"], "quantities": ["magnetism"]}, "unknown quantity 'magnetism'. Known"),
        ({"compare": ["b"], "quantities": "[]"}, "expected at least one of"),
        ({"compare": ["b"], "checks": ["eos"]}, "checks has no effect where models are compared"),
        ({"quantities": ["elastic"]}, "quantities has no effect on one model"),
    ],
)
def test_options_that_cannot_be(given, message):
    with pytest.raises(ConfigError, match=message):
        build(PhysicsOptions, {"model": "a", **given})


def test_the_reference_is_the_first_model():
    assert build(PhysicsOptions, {"model": "a", "compare": ["b", "c"]}).models() == ["a", "b", "c"]
    given = build(PhysicsOptions, {"model": "a", "compare": ["b"], "reference": "b"})
    assert given.models() == ["b", "a"]
    assert build(PhysicsOptions, {"model": "a", "reference": "b"}).compares
    assert not build(PhysicsOptions, {"model": "a"}).compares
    assert (given.sized().crystals, PhysicsOptions(compare=["b"], quick=True).sized().crystals) == (
        30,
        5,
    )
