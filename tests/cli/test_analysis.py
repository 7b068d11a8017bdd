"""``matkit analyse`` on dynamics of copper."""

import csv
import json

import pytest
import yaml
from ase.build import bulk
from ase.io import read, write

from tests.report.sources import external_sources


@pytest.fixture
def trajectory(cli, copper):
    cli("md", copper, "--steps", 60, "--traj-every", 2, "--stats-every", 50)
    return "results/cu-traj.extxyz"


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_journey(cli, trajectory):
    result = cli("analyse", trajectory)
    folder = cli.folder / "results" / "analysis"
    ends = ("rdf", "msd", "vdos", "curves")
    names = {f"cu-traj-{end}.{kind}" for end in ends for kind in ("csv", "png")}
    names |= {"cu-traj-vacf.csv", "cu-traj-analysis.json", "cu-traj-analysis.html", "config.yaml"}
    assert {path.name for path in folder.iterdir()} == names
    for text in (
        "31 frames, 2 fs apart",
        "Highest peaks: Cu-Cu",
        "diffusion (cm²/s)",
        "temperature_K",
    ):
        assert text in result.stdout
    document = json.loads((folder / "cu-traj-analysis.json").read_text(encoding="utf-8"))
    assert document["interval_fs"] == pytest.approx(2)
    assert document["options"]["rdf_max"] == 8.0
    assert document["diffusion"]["Cu"].keys() >= {"coefficient_cm2_per_s", "error_cm2_per_s"}
    rows = table(folder / "cu-traj-rdf.csv")
    assert float(rows[-1]["coordination_Cu-Cu"]) > 100
    assert float(table(folder / "cu-traj-vacf.csv")[0]["all"]) == 1
    assert (folder / "cu-traj-rdf.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "cu-traj-analysis.html").read_text(encoding="utf-8")
    assert "Mean square displacement" in page
    assert not external_sources(page)
    assert yaml.safe_load((folder / "config.yaml").read_text())["every"] == 1


def test_results_are_replaced_only_if_asked(cli, trajectory):
    cli("analyse", trajectory)
    assert "there already are" in cli("analyse", trajectory, code=2).stderr
    cli("analyse", trajectory, "--overwrite", "--parts", "rdf")
    folder = cli.folder / "results" / "analysis"
    assert not (folder / "cu-traj-msd.csv").exists()


def test_several_trajectories(cli, trajectory):
    """A bad one costs only itself."""
    write("other.traj", [bulk("Cu"), bulk("Ag")])
    result = cli("analyse", trajectory, "other.traj", "other.traj@0", "--json", code=1)
    rows = json.loads(result.stdout)["trajectories"]
    assert [("error" in row) for row in rows] == [False, True, False]
    assert "same atoms" in result.stderr
    assert (cli.folder / "results" / "analysis" / "other-2-rdf.csv").exists()


def test_a_trajectory_without_times(cli):
    write("t.extxyz", [bulk("Cu")] * 40)
    result = cli("analyze", "t.extxyz")
    assert "No diffusion: the file does not say the times" in result.stderr
    assert "No diffusion" not in cli("analyse", "t.extxyz", "--quiet", "--out", "q").stderr
    told = cli("analyse", "t.extxyz", "--parts", "diffusion", "--out", "o", code=2).stderr
    assert "--frame-interval 10" in told
    cli("analyse", "t.extxyz", "--parts", "diffusion", "--out", "o", "--frame-interval", "5")


def test_no_trajectory_is_refused(cli):
    assert "Expected a trajectory, got none" in cli("analyse", code=2).stderr


def test_template(cli):
    (cli.folder / "c.yaml").write_text(cli("template", "analyse").stdout)
    write("t.extxyz", [bulk("Cu")] * 2)
    cli("analyse", "--config", "c.yaml", "t.extxyz")
    assert len(read("t.extxyz", ":")) == 2
