"""Labelling of files: resumable, in shards, over executors, filtered, and read by the rest."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from matkit.data.cached import convert
from matkit.data.dataset import located_atoms, read_dataset
from matkit.data.labels import LabelKeys
from matkit.errors import ConfigError, DataError, UnknownNameError
from matkit.label import LabellingOptions, label, read_hessians
from matkit.label.entries import entries
from matkit.label.run import Placement
from matkit.models import checkpoint
from matkit.properties.columns import targets_in
from matkit.properties.reading import read_property_entries
from matkit.runs.items import Shard
from tests.evaluate.labelled import frames, network
from tests.label.calculators import matrix_of
from tests.label.test_engines import QUADRATIC

COUNT = 6


def quadratic(**options):
    more = {name: options.pop(name) for name in list(options) if name in ("pause", "trace", "fail")}
    return LabellingOptions(calculator=QUADRATIC, calculator_options=more, **options)


def chain(count=COUNT):
    """Molecules of one to three atoms; the first coordinate is their number."""
    made = []
    for i in range(count):
        atoms = Atoms("HOH"[: 1 + i % 3], np.random.default_rng(i).normal(size=(1 + i % 3, 3)))
        atoms.positions[0, 0] = i
        atoms.info |= {"config_type": "chain", "energy": 99.0, "group": f"g{i}", "note": {"no": 1}}
        atoms.arrays["forces"] = np.full((len(atoms), 3), 99.0)
        made.append(atoms)
    return made


def rows_of(folder):
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "chain.traj"
    write(path, chain())
    return path


@pytest.fixture
def models(tmp_path):
    for seed in (0, 1):
        path = tmp_path / f"model{seed}.safetensors"
        checkpoint.save(network((1, 8, 11, 17), seed=seed), path, {"licence": "MIT"})
    return [str(tmp_path / f"model{seed}.safetensors") for seed in (0, 1)]


def test_labels_are_read_as_labels(tmp_path, source):
    result = label(source, tmp_path / "out", quadratic())
    assert (result.done, result.rejected, result.failed) == (COUNT, 0, 0)
    data = read_dataset(result.files.frames)
    assert (data.label_report.energy.key, data.label_report.energy.count) == ("REF_energy", COUNT)
    assert (data.label_report.forces.key, data.label_report.forces.others) == ("REF_forces", {})
    assert set(data.config_types) == {"chain"}
    assert data.groups == tuple(f"g{i}" for i in range(COUNT))
    for part, atoms in zip(data.structures.split(), chain(), strict=True):
        x = atoms.positions.ravel()
        np.testing.assert_allclose(part.positions, atoms.positions, atol=1e-7)
        forces = -(matrix_of(len(atoms)) @ x).reshape(-1, 3)
        np.testing.assert_allclose(part.atom["forces"], forces, atol=1e-7)
        assert float(part.system["energy"]) == pytest.approx(-(forces.ravel() @ x) / 2)
    again = tmp_path / "converted"
    convert(located_atoms([result.files.frames]), again, LabelKeys())
    assert len(read_dataset(again)) == COUNT
    assert all("energy" not in atoms.info for atoms in read(result.files.frames, ":"))


def test_dipoles_and_charges_of_molecules_are_labels_too(tmp_path, source):
    options = LabellingOptions(calculator="tests.label.calculators:Polar")
    result = label(source, tmp_path / "out", options)
    assert json.loads((tmp_path / "out/labels.json").read_text())["units"]["dipole"] == "e Å"
    for atoms in read(result.files.frames, ":"):
        charges = np.linspace(-1, 1, len(atoms))
        np.testing.assert_allclose(atoms.arrays["REF_charges"], charges, atol=1e-7)
        np.testing.assert_allclose(atoms.info["REF_dipole"], charges @ atoms.positions, atol=1e-7)
    there = read_property_entries([str(result.files.frames)])
    (target,) = targets_in(["REF_dipole:dipole:e*Å"], there.columns, there.sources)
    assert target.width == 3


def test_provenance_is_beside_the_labels(tmp_path, source):
    label(source, tmp_path / "out", quadratic(level="springs"))
    document = json.loads((tmp_path / "out/labels.json").read_text())
    assert document["settings"]["level"] == "springs"
    assert document["calculator"]["factory"] == QUADRATIC
    assert document["versions"]["matkit"]
    assert document["counts"] == {"done": COUNT, "rejected": 0, "failed": 0}


def test_a_model_labels_in_batches(tmp_path, models):
    write(tmp_path / "s.extxyz", frames(7))
    sizes = []
    options = LabellingOptions(calculator=models[0], dtype="float64", batch_atoms=20)
    result = label(
        tmp_path / "s.extxyz", tmp_path / "out", options, lambda state: sizes.append(state.done)
    )
    assert result.done == 7
    assert 1 < len(sizes) < 7
    assert result.document["calculator"]["licence"] == "MIT"
    alone = LabellingOptions(calculator=models[0], dtype="float64", batch_atoms=1)
    label(tmp_path / "s.extxyz", tmp_path / "alone", alone)
    one, other = (read_dataset(tmp_path / f"{name}/labels.extxyz") for name in ("out", "alone"))
    for key in ("energy", "stress"):
        a, b = one.structures.system[key], other.structures.system[key]
        np.testing.assert_allclose(a, b, atol=1e-10)
    np.testing.assert_allclose(one.structures.atom["forces"], other.structures.atom["forces"])
    assert one.label_report.stress.count == 4


def killed_after(lines, words, ledger):
    """Start a run, and kill it when its ledger has some lines."""
    process = subprocess.Popen([sys.executable, "-c", RUN, *map(str, words)], cwd=".")
    while process.poll() is None:
        if ledger.exists() and ledger.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    process.wait()
    return process.returncode


RUN = """
import sys
from matkit.runs.executors import open_executor
from matkit.label import LabellingOptions, label
from matkit.label.run import Placement
source, out, trace = sys.argv[1:]
options = {"pause": 0.2, "trace": trace}
name = "tests.label.calculators:Quadratic"
options = LabellingOptions(calculator=name, calculator_options=options)
with open_executor("local", 2) as executor:
    label(source, Placement(out, executor=executor), options)
"""


def wait_for_the_end_of(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait(60)


def test_nothing_is_lost_or_done_twice_after_kill_9(tmp_path, source):
    out, trace = tmp_path / "out", tmp_path / "trace"
    assert killed_after(2, [source, out, trace], out / "labels.jsonl") == -signal.SIGKILL
    known = (out / "labels.jsonl").read_text().splitlines()
    assert 2 <= len(known) < COUNT
    for line in trace.read_text().splitlines():
        wait_for_the_end_of(int(line.split()[1]))
    options = quadratic(pause=0.2, trace=str(trace))
    result = label(source, out, options)
    assert result.done == COUNT
    done = [float(line.split()[0]) for line in trace.read_text().splitlines()]
    recorded = [json.loads(line)["index"] for line in known]
    assert all(done.count(i) == 1 for i in recorded)
    label(source, tmp_path / "whole", quadratic(pause=0.2, trace=str(trace)))
    whole = (tmp_path / "whole/labels.extxyz").read_bytes()
    assert (out / "labels.extxyz").read_bytes() == whole


def test_a_finished_run_computes_nothing(tmp_path, source):
    options = quadratic(trace=str(tmp_path / "trace"))
    label(source, tmp_path / "out", options)
    label(source, tmp_path / "out", options)
    assert len((tmp_path / "trace").read_text().splitlines()) == COUNT


def test_structures_may_be_added(tmp_path):
    path = tmp_path / "s.extxyz"
    write(path, chain(3))
    label(path, tmp_path / "out", quadratic())
    write(path, chain(5))
    assert label(path, tmp_path / "out", quadratic()).done == 5
    write(path, chain(5)[::-1])
    with pytest.raises(DataError, match="got something else"):
        label(path, tmp_path / "out", quadratic())


def test_shards_and_executors_give_the_same_labels(tmp_path, source):
    label(source, tmp_path / "one", quadratic())
    whole = (tmp_path / "one/labels.extxyz").read_text()
    with ThreadPoolExecutor(3) as executor:
        label(source, Placement(tmp_path / "many", executor=executor), quadratic(pause=0.01))
    assert (tmp_path / "many/labels.extxyz").read_text() == whole
    for number in (1, 2):
        label(source, Placement(tmp_path / "parts", Shard(number, 2)), quadratic())
    parts = [read(tmp_path / f"parts/labels-{n}-of-2.extxyz", ":") for n in (1, 2)]
    joined = sorted((a for part in parts for a in part), key=lambda a: a.positions[0, 0])
    for one, other in zip(joined, read(tmp_path / "one/labels.extxyz", ":"), strict=True):
        np.testing.assert_array_equal(one.arrays["REF_forces"], other.arrays["REF_forces"])


@pytest.mark.parametrize(("fail", "reason"), [(2, "did not converge"), (-2, "forces not finite")])
def test_failures_are_recorded_and_the_run_goes_on(tmp_path, source, fail, reason):
    result = label(source, tmp_path / "out", quadratic(fail=fail))
    assert (result.done, result.failed) == (4, 2)
    assert [place for place, _ in result.reasons] == [f"{source}[1]", f"{source}[4]"]
    assert all(reason in text for _, text in result.reasons)
    assert label(source, tmp_path / "out", quadratic(fail=fail)).failed == 2


def test_a_damaged_file_is_a_failure_too(tmp_path, source):
    folder = tmp_path / "many"
    folder.mkdir()
    write(folder / "1.extxyz", chain(2))
    (folder / "2.extxyz").write_text("3\nhalf a frame\nH 0 0 0\n")
    write(folder / "10.cif", frames(1)[0])
    result = label([folder, source], tmp_path / "out", quadratic())
    assert (result.done, result.failed) == (3 + COUNT, 1)
    assert "2.extxyz" in result.reasons[0][0]


def test_a_converted_set_is_a_source(tmp_path):
    write(tmp_path / "s.extxyz", [a for a in frames(6) if not a.pbc.any()])
    convert(located_atoms([tmp_path / "s.extxyz"]), tmp_path / "set", LabelKeys())
    result = label(tmp_path / "set", tmp_path / "out", quadratic())
    assert result.done == len(read(tmp_path / "s.extxyz", ":"))
    assert read_dataset(result.files.frames).label_report.energy.key == "REF_energy"


@pytest.mark.parametrize("empty", [False, True])
def test_nothing_to_label(tmp_path, empty):
    (tmp_path / "empty").mkdir()
    paths = [tmp_path / "empty"] if empty else [tmp_path / "absent.xyz"]
    with pytest.raises(DataError, match="Expected"):
        list(entries(paths))


def test_labels_are_kept_where_two_models_agree(tmp_path, models):
    write(tmp_path / "s.extxyz", frames(6))
    options = {"calculator": models[0], "agree": models[1], "dtype": "float64"}
    generous = LabellingOptions(**options, max_difference=100.0)
    label(tmp_path / "s.extxyz", tmp_path / "all", generous)
    rows = rows_of(tmp_path / "all")
    differences = sorted(row["difference"] for row in rows)
    second = LabellingOptions(calculator=models[1], dtype="float64")
    label(tmp_path / "s.extxyz", tmp_path / "second", second)
    pairs = (read(tmp_path / f"{name}/labels.extxyz", ":") for name in ("all", "second"))
    expected = [
        np.linalg.norm(a.arrays["REF_forces"] - b.arrays["REF_forces"], axis=1).max()
        for a, b in zip(*pairs, strict=True)
    ]
    np.testing.assert_allclose([row["difference"] for row in rows], expected, atol=1e-7)
    limit = (differences[2] + differences[3]) / 2
    strict = LabellingOptions(**options, max_difference=limit)
    result = label(tmp_path / "s.extxyz", tmp_path / "some", strict)
    assert (result.done, result.rejected, result.failed) == (3, 3, 0)
    assert result.document["agree"]["model"] == models[1]


def test_models_may_differ_by_a_part_of_the_force(tmp_path, models):
    write(tmp_path / "s.extxyz", frames(6))
    options = {"calculator": models[0], "agree": models[1], "dtype": "float64"}
    part = {"max_difference": 1e-6, "relative_difference": 0.3}
    result = label(tmp_path / "s.extxyz", tmp_path / "some", LabellingOptions(**options, **part))
    forces = []
    for number, model in enumerate(models):
        alone = LabellingOptions(calculator=model, dtype="float64")
        label(tmp_path / "s.extxyz", tmp_path / str(number), alone)
        found = read(tmp_path / f"{number}/labels.extxyz", ":")
        forces.append([atoms.arrays["REF_forces"] for atoms in found])
    beyond = [
        (np.linalg.norm(a - b, axis=1) - 0.3 * np.linalg.norm(a, axis=1)).max()
        for a, b in zip(*forces, strict=True)
    ]
    rows = rows_of(tmp_path / "some")
    np.testing.assert_allclose([row["difference_beyond"] for row in rows], beyond, atol=1e-7)
    assert [row["status"] for row in rows] == ["rejected" if b > 1e-6 else "done" for b in beyond]
    assert result.rejected
    assert "beyond 0.3 of them" in next(r["reason"] for r in rows if r["status"] == "rejected")


def test_a_second_model_that_fails_is_named(tmp_path, models):
    checkpoint.save(network((1, 8)), tmp_path / "water.safetensors", {})
    write(tmp_path / "s.extxyz", frames(4))
    options = LabellingOptions(
        calculator=models[0], agree=str(tmp_path / "water.safetensors"), max_difference=100.0
    )
    result = label(tmp_path / "s.extxyz", tmp_path / "out", options)
    assert (result.done, result.failed) == (2, 2)
    assert "water.safetensors: The model does not know Na" in result.reasons[0][1]


def test_large_forces_are_rejected(tmp_path, source):
    label(source, tmp_path / "all", quadratic())
    rows = rows_of(tmp_path / "all")
    forces = sorted(row["max_force"] for row in rows)
    assert forces[-1] == pytest.approx(
        max(
            np.linalg.norm(a.arrays["REF_forces"], axis=1).max()
            for a in read(tmp_path / "all/labels.extxyz", ":")
        )
    )
    options = quadratic(max_force=(forces[1] + forces[2]) / 2)
    assert label(source, tmp_path / "some", options).rejected == COUNT - 2


def test_hessians_are_stored_and_read(tmp_path, source):
    for number in (1, 2):
        where = Placement(tmp_path / "out", Shard(number, 2))
        label(source, where, quadratic(hessian="finite-difference", max_force=100.0))
    found = read_hessians(tmp_path / "out")
    assert len(found) == COUNT
    for i in range(COUNT):
        exact = matrix_of(int(found.dataset.structures.n_atoms[i]))
        np.testing.assert_allclose(found.hessian(i), exact, atol=1e-5)
        np.testing.assert_allclose(found.blocks(i)[0, -1], exact[:3, -3:], atol=1e-5)
    structures, hessians = found.batch([4, 0])
    assert [len(hessian) // 3 for hessian in hessians] == structures.n_atoms.tolist()
    x = structures.split()[0].positions.flatten()
    assert float(structures.system["energy"][0]) == pytest.approx(
        float(x @ hessians[0] @ x) / 2, abs=1e-4
    )
    (first, *_) = read(tmp_path / "out/labels-1-of-2.extxyz", ":")
    assert 0 <= first.info["hessian_asymmetry"] < 1e-9


def test_asymmetric_hessians_are_rejected(tmp_path):
    write(tmp_path / "s.extxyz", [molecule("H2O"), Atoms("H")])
    options = LabellingOptions(
        calculator=QUADRATIC,
        calculator_options={"skew": 0.1},
        hessian="finite-difference",
        max_asymmetry=0.15,
    )
    result = label(tmp_path / "s.extxyz", tmp_path / "out", options)
    assert (result.done, result.rejected) == (1, 1)
    assert len(read_hessians(tmp_path / "out")) == 1


def test_exact_hessians_of_a_model(tmp_path, models):
    write(tmp_path / "s.extxyz", frames(2))
    for method in ("autograd", "finite-difference"):
        label(
            tmp_path / "s.extxyz",
            tmp_path / method,
            LabellingOptions(calculator=models[0], hessian=method),
        )
    exact, difference = (read_hessians(tmp_path / m) for m in ("autograd", "finite-difference"))
    for i in range(2):
        size = float(exact.hessian(i).abs().max())
        assert size > 0
        np.testing.assert_allclose(exact.hessian(i), difference.hessian(i), atol=1e-3 * size)


def test_hessians_that_are_not_there(tmp_path, source):
    label(source, tmp_path / "out", quadratic())
    with pytest.raises(DataError, match="--hessian finite-difference"):
        read_hessians(tmp_path / "out")


def test_edited_structures_are_noticed(tmp_path, source):
    label(source, tmp_path / "out", quadratic(hessian="finite-difference"))
    path = tmp_path / "out/labels.extxyz"
    labelled = read(path, ":")
    rest = path.stat().st_size
    write(path, labelled[::-1])
    path.write_bytes(path.read_bytes().ljust(rest))
    with pytest.raises(DataError, match="not those of its matrices"):
        read_hessians(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"agree": "sevennet-0"}, "agree needs max_difference"),
        ({"max_difference": 0.1}, "agree needs max_difference"),
        ({"relative_difference": 0.1}, "relative_difference has no effect"),
        ({"max_asymmetry": 0.1}, "max_asymmetry has no effect"),
        ({"step": 0.1}, "step has no effect"),
        ({"min_gap": 0.5}, "min_gap needs hamiltonian or a calculator of gfn1, gfn2"),
        ({"calculator_options": {1: 2}}, "expected names|valid string"),
        ({"forces": False}, "with hamiltonian functional/basis alone"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        LabellingOptions(**options)


def test_what_cannot_work_is_said_before_anything_is_computed(tmp_path, source):
    with pytest.raises(ConfigError, match="has no exact Hessian"):
        label(source, tmp_path / "out", quadratic(hessian="autograd"))
    with pytest.raises(UnknownNameError):
        label(source, tmp_path / "out", LabellingOptions(calculator="sevenet"))
    assert not (tmp_path / "out").exists()
