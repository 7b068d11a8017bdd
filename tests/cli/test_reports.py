import json
import re
from email.message import Message

import pytest
import torch

from matkit import doctor


@pytest.mark.parametrize("backend", doctor.BACKENDS)
@pytest.mark.parametrize("name", doctor.nasty_cells())
def test_neighbour_lists_agree_with_ase(name, backend):
    assert doctor.edges_differ(doctor.nasty_cells()[name], backend) == ""


def test_the_cells_are_as_nasty_as_they_say():
    cells = doctor.nasty_cells()
    assert not cells["molecule without cell"].cell.any()
    dummy = cells["molecule with a dummy cell"]
    assert dummy.cell.rank == 3
    assert not dummy.pbc.any()
    assert cells["slab TTF"].pbc.tolist() == [True, True, False]
    assert cells["triclinic, 30 degrees"].cell.angles() == pytest.approx(30)
    assert cells["cell smaller than the cutoff"].cell.lengths().max() < doctor.CUTOFF
    outside = cells["atoms outside the cell"].get_scaled_positions(wrap=False)
    assert (outside < 0).any()
    assert (outside > 1).any()
    assert len(cells["one periodic atom"]) == len(cells["isolated atom"]) == 1


def test_doctor_finds_nothing_wrong(cli):
    text = cli("doctor").stdout
    assert "Everything is as it should be." in text
    for word in ("python", "torch", "ase", "vesin", "e3nn", "threads", "sevennet-0"):
        assert word in text


def test_doctor_as_json(cli):
    document = json.loads(cli("doctor", "--json").stdout)
    assert document["ok"] is True
    assert {"name", "ok", "detail"} == document["checks"][0].keys()


@pytest.mark.parametrize(
    ("fault", "batched_only"),
    [
        ("missing edge", False),
        pytest.param("missing edge", True, marks=pytest.mark.slow),
        pytest.param("shifted edge", False, marks=pytest.mark.slow),
        ("shifted edge", True),
        pytest.param("exception", False, marks=pytest.mark.slow),
    ],
)
def test_doctor_finds_a_faulty_neighbour_list(cli, monkeypatch, fault, batched_only):
    right = doctor.radius_graph

    def wrong(structures, cutoff, backend="vesin"):
        graph = right(structures, cutoff, backend)
        if backend == "vesin" or (batched_only and len(structures) == 1):
            return graph
        if fault == "exception":
            raise ZeroDivisionError("a bug")
        if fault == "shifted edge":
            return graph.replace(positions=graph.positions * 1.001)
        return graph.keep_edges(torch.arange(len(graph.center)) > 0)

    monkeypatch.setattr(doctor, "radius_graph", wrong)
    document = json.loads(cli("doctor", "--json", code=1).stdout)
    faulty = [check for check in document["checks"] if not check["ok"]]
    assert [check["name"] for check in faulty] == ["neighbours, torch"]
    assert ("in a batch" in faulty[0]["detail"]) == batched_only
    assert "Wrong: neighbours, torch" in cli("doctor", code=1).stdout


def test_doctor_misses_a_package(cli, monkeypatch):
    monkeypatch.setattr(doctor, "package_version", lambda name: None if name == "ase" else "1")
    checks = {check.name: check for check in doctor.examine()}
    assert not checks["ase"].ok
    assert "pip install ase" in checks["ase"].detail


def test_optional_packages_may_be_missing(monkeypatch):
    monkeypatch.setattr(doctor, "extras", lambda: {"molecules": ["rdkit"], "train": ["lightning"]})
    monkeypatch.setattr(doctor, "package_version", lambda name: "1" if name != "rdkit" else None)
    checks = {check.name: check for check in doctor.examine()}
    assert checks["extra molecules"].ok
    assert 'without rdkit (optional): pip install "matkit[molecules]"' in (
        checks["extra molecules"].detail
    )
    assert checks["extra train"].detail == "lightning 1"


def test_every_extra_of_the_metadata_is_listed(monkeypatch):
    """A new one appears by itself."""
    metadata = Message()
    for extra in ("new", "elsewhere", "all"):
        metadata["Provides-Extra"] = extra
    requires = [
        *("torch>=2", "numpy; python_version > '3'", "one>=1; extra == 'new'"),
        *("two; extra == 'new'", "three; sys_platform == 'none' and extra == 'new'"),
        *("four; sys_platform == 'none' and extra == 'elsewhere'", "matkit[new]; extra == 'all'"),
    ]
    monkeypatch.setattr(doctor.importlib.metadata, "metadata", lambda name: metadata)
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: requires)
    assert doctor.extras() == {"new": ["one", "two"]}


def test_a_kernel_is_compiled_and_timed():
    for dtype in (torch.float32, torch.float64):
        check = doctor._kernel(torch.device("cpu"), dtype)
        assert check.ok
        assert check.name == f"kernel, cpu {str(dtype).removeprefix('torch.')}"
        assert re.fullmatch(r"fused, ready in .* s; .* ms, \d+ times faster than .*", check.detail)


def test_doctor_finds_that_the_kernels_cannot_be_used(monkeypatch):
    monkeypatch.setattr(doctor.Convolution, "choose", lambda self, weights: "reference")
    check = doctor._kernel(torch.device("cpu"), torch.float32)
    assert not check.ok
    assert "slow fallback: pip install llvmlite" in check.detail


def test_models_list(cli):
    listed = cli("models", "list").stdout
    assert all(name in listed for name in ("sevennet-0", "sevennet-l3i5", "crystalflow-perov5"))
    cards = json.loads(cli("models", "list", "--json").stdout)
    assert cards["sevennet-0"]["licence"].startswith("MIT")


def test_models_info(cli):
    text = cli("models", "info", "sevennet-0").stdout
    assert "citation" in text
    assert json.loads(cli("models", "info", "sevennet-0", "--json").stdout)["name"] == "sevennet-0"


def test_models_info_of_an_unknown_name(cli):
    stderr = cli("models", "info", "sevenet-0", code=2).stderr
    assert "Did you mean 'sevennet-0'?" in stderr
