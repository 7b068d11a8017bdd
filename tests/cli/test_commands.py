import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from ase.build import bulk, molecule
from ase.io import read, write

import matkit
from matkit.cli.configs import CONFIGS, TEMPLATES
from tests.simulate.calculators import InterruptedEMT, Springs

COMMANDS = ("singlepoint", "relax", "md")


def test_relax(cli, copper):
    result = cli("relax", copper, "--relax-cell", "--write-traj")
    assert "cu.xyz Cu4: converged" in result.stdout
    relaxed = read("results/cu-relaxed.extxyz")
    assert relaxed.cell.lengths() == pytest.approx(3.59, abs=0.01)
    assert relaxed.info["reason"] == "converged"
    summary = cli.summary("cu")
    (row,) = summary["structures"]
    assert summary["command"] == "relax"
    assert summary["converged"] is row["converged"] is True
    assert (row["source"], row["index"], row["reason"]) == ("cu.xyz", 0, "converged")
    assert summary["versions"]["matkit"] == matkit.__version__
    assert {"python", "torch", "ase"} <= summary["versions"].keys()
    assert summary["model"]["calculator"] == "EMT"
    assert summary["options"]["relax_cell"] is True
    assert summary["wall_time"] > 0
    assert len(read("results/cu-traj.extxyz", ":")) == row["steps"] + 1


def test_singlepoint(cli, copper):
    result = cli("singlepoint", "-i", copper)
    assert "pressure" in result.stdout
    atoms = read("results/cu-singlepoint.extxyz")
    assert atoms.get_potential_energy() == pytest.approx(
        cli.summary("cu")["structures"][0]["energy"]
    )
    assert atoms.get_stress().shape == (6,)


def test_md(cli, copper):
    result = cli("md", copper, "--steps", 20, "--stats-every", 5, "--ensemble", "nve")
    assert "done" in result.stdout
    assert "drift" in result.stdout
    with open("results/cu-stats.csv") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "5", "10", "15", "20"]
    assert read("results/cu-final.extxyz").get_momenta().any()


def test_restart_auto_continues(cli, copper):
    cli("md", copper, "--steps", 40, "--restart-every", 10, "-o", "whole")
    cli("md", copper, "--steps", 20, "--restart-every", 10, "--restart", "auto")
    result = cli("md", copper, "--steps", 40, "--restart-every", 10, "--restart", "auto")
    assert "went on from step 20" in result.stdout
    for name in ("cu-traj.extxyz", "cu-stats.csv", "cu-final.extxyz"):
        assert (cli.folder / "results" / name).read_bytes() == (
            cli.folder / "whole" / name
        ).read_bytes()


def test_a_refused_restart_leaves_the_results_alone(cli, copper):
    cli("md", copper, "--steps", 5)
    before = {path.name: path.read_bytes() for path in (cli.folder / "results").iterdir()}
    words = ["md", copper, "--steps", 9, "--restart", "auto", "--temp", 500]
    assert "300.0 then, 500.0 now" in cli(*words, code=2).stderr
    after = {path.name: path.read_bytes() for path in (cli.folder / "results").iterdir()}
    assert after == before


def test_the_old_names_work(cli, copper):
    cli("geomopt", "--struct", copper, "--relax_cell", "--default_dtype", "float32")
    assert cli.summary("cu")["options"]["dtype"] == "float32"
    cli("md", copper, "--steps", 1, "--temp", 500, "--overwrite", "--traj_every=7")
    options = cli.summary("cu")["options"]
    assert (options["temperature"], options["traj_every"]) == (500, 7)


def test_switches_take_true_and_false(cli, copper):
    cli("relax", copper, "--relax_cell=True", "--steps", 0, "-o", "a", code=1)
    cli("relax", copper, "--relax_cell=False", "--steps", 0, "-o", "b", code=1)
    assert cli.summary("cu", "a")["options"]["relax_cell"] is True
    assert cli.summary("cu", "b")["options"]["relax_cell"] is False


def test_pressure_is_in_gpa(cli, copper):
    cli("relax", copper, "--relax-cell", "--pressure", 10, "--fmax", 0.001)
    stress = read("results/cu-relaxed.extxyz").get_stress()
    assert -stress[:3].mean() * 160.21766208 == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize(
    ("command", "dtype"), [("singlepoint", "float64"), ("relax", "float64"), ("md", "float32")]
)
def test_default_precision(cli, copper, command, dtype):
    result = cli(command, copper)
    assert cli.loaded[0].dtype == dtype
    assert result.stderr.count(dtype) == 1


def test_many_frames_stay_in_order(cli):
    small = [bulk("Cu"), bulk("Ag", a=4.2, cubic=True), bulk("Al")]
    write("many.xyz", small)
    cli("relax", "many.xyz", "--relax-cell", "--write-traj")
    frames = read("results/many-relaxed.extxyz", ":")
    assert [str(frame.symbols) for frame in frames] == ["Cu", "Ag4", "Al"]
    assert [frame.info["frame"] for frame in frames] == [0, 1, 2]
    assert [row["index"] for row in cli.summary("many")["structures"]] == [0, 1, 2]
    assert (cli.folder / "results" / "many-2-traj.extxyz").exists()


def test_a_bad_frame_among_many(cli):
    bad = bulk("Cu", cubic=True)
    bad.positions[2] = np.nan
    unknown = bulk("U", "bcc", a=3.4)  # EMT does not know it
    write("many.xyz", [bulk("Cu"), bad, unknown, bulk("Al")])
    result = cli("relax", "many.xyz", "--relax-cell", code=1)
    assert "many.xyz[1]: error (Expected finite positions" in result.stdout
    rows = cli.summary("many")["structures"]
    assert [row["converged"] for row in rows] == [True, False, False, True]
    assert "NotImplementedError" in rows[2]["message"]
    frames = read("results/many-relaxed.extxyz", ":")
    assert [frame.info["frame"] for frame in frames] == [0, 3]


def test_a_bad_file_among_many(cli, copper):
    open("empty.cif", "w").close()
    cli("relax", "empty.cif", copper, code=1)
    assert "empty file" in cli.summary("empty")["structures"][0]["message"]
    assert cli.summary("cu")["converged"]


def test_equal_stems_do_not_collide(cli, copper):
    (cli.folder / "other").mkdir()
    write("other/cu.cif", bulk("Cu"))
    cli("singlepoint", copper, "other/cu.cif")
    assert cli.summary("cu")["structures"][0]["source"] == "cu.xyz"
    assert cli.summary("cu-2")["structures"][0]["source"] == "other/cu.cif"


def test_suffix_and_folder(cli, copper):
    cli("singlepoint", copper, "-s", "-test", "-o", "deep/er")
    assert (cli.folder / "deep/er/cu-test-summary.json").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_existing_results_are_refused_before_a_model_is_loaded(cli, copper, command):
    cli(command, copper)
    cli.loaded.clear()
    result = cli(command, copper, code=2)
    assert "there already are" in result.stderr
    assert not cli.loaded
    cli(command, copper, "--overwrite")


def test_not_converged_is_an_error_code(cli, copper):
    result = cli("relax", copper, "--steps", 2, code=1)
    assert "max_steps" in result.stdout
    assert cli.summary("cu")["converged"] is False


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_all_there_is_on_stdout(cli, copper, command):
    result = cli(command, copper, "--json")
    document = json.loads(result.stdout)
    assert document["converged"] is True
    assert document["command"] == command
    for path in document["outputs"]:
        assert (cli.folder / path).exists()
    assert f"results/cu-{'relaxed' if command == 'relax' else 'summary'}" in str(
        document["outputs"]
    )


def test_json_without_numbers_that_are_not(cli, copper):
    cli.calculator = lambda: Springs(fail_at=1, failure="nan")
    result = cli("relax", copper, "--json", code=1)
    row = json.loads(result.stdout, parse_constant=pytest.fail)["structures"][0]
    assert (row["reason"], row["energy"]) == ("nan", None)


def test_quiet(cli, copper):
    result = cli("relax", copper, "--quiet")
    assert result.stdout == result.stderr == ""


@pytest.mark.parametrize("command", ["relax", "md"])
def test_ctrl_c_keeps_and_says_what_there_is(cli, copper, command):
    write("two.xyz", [read(copper), bulk("Al")])
    cli.calculator = lambda: InterruptedEMT(fail_at=5)
    result = cli(command, "two.xyz", code=130)
    assert "Stopped by the user; what was computed is in results" in result.stderr
    rows = cli.summary("two")["structures"]
    assert [row["reason"] for row in rows] == ["interrupted", "interrupted"]
    assert rows[1]["message"] == "not started"
    assert len(read(f"results/two-{'relaxed' if command == 'relax' else 'final'}.extxyz", ":")) == 1


def test_ctrl_c_in_a_single_point(cli, copper):
    cli.calculator = lambda: InterruptedEMT(fail_at=1)
    cli("singlepoint", copper, code=130)
    assert "before the first result" in cli.summary("cu")["structures"][0]["message"]


def test_ctrl_c_while_loading(cli, copper, monkeypatch):
    def load(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("matkit.cli.loading.load_model", load)
    assert "stopped by the user" in cli("relax", copper, code=130).stderr


def test_user_errors_are_one_message(cli):
    result = cli("relax", "nothing.cif", code=2)
    assert result.stderr.startswith("Error: Expected a file with structures")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_debug_shows_the_traceback(cli):
    with pytest.raises(matkit.errors.StructureError):
        cli("relax", "nothing.cif", "--debug")


def test_an_error_in_the_only_structure_is_not_hidden(cli):
    write("u.xyz", bulk("U", "bcc", a=3.4))
    with pytest.raises(NotImplementedError, match="No EMT-potential"):
        cli("relax", "u.xyz")


def test_a_molecule_whose_cell_cannot_be_relaxed(cli):
    write("water.xyz", molecule("H2O"))
    words = ["relax", "water.xyz", "--relax-cell", "--write-traj"]
    assert "needs a periodic structure" in cli(*words, code=2).stderr
    assert not list(cli.folder.glob("results/*"))  # nothing is in the way of the next attempt


def test_no_files(cli):
    assert "at least one file" in cli("relax", code=2).stderr


def test_an_unknown_flag(cli, copper):
    result = cli("relax", copper, "--fmx", "0.1", code=2)
    assert "--fmax" in result.stderr


def test_a_bad_value(cli, copper):
    result = cli("relax", copper, "--fmax", "small", code=2)
    assert "Option 'fmax'" in result.stderr
    assert "'small'" in result.stderr


def test_the_resolved_config_gives_the_same_again(cli, copper):
    cli("relax", copper, "--fmax", 0.05, "--relax-cell", "-o", "one")
    cli("relax", "--config", "one/cu-relax-config.yaml", "-o", "two")
    one, two = (cli.summary("cu", out) for out in ("one", "two"))
    assert one["structures"][0]["energy"] == two["structures"][0]["energy"]
    assert one["options"] | {"out": "two"} == two["options"]


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(cli, copper):
    (cli.folder / "c.yaml").write_text("fmax: 0.5\nrelax-cell: true\nsteps: 7\nstruct: cu.xyz\n")
    cli("relax", "--config", "c.yaml", "--fmax", 0.4, "--no-relax-cell")
    options = cli.summary("cu")["options"]
    assert (options["fmax"], options["relax_cell"], options["steps"]) == (0.4, False, 7)
    assert options["optimizer"] == "FIRE"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fmx: 0.1", r"Unknown option 'fmx'. Did you mean 'fmax'\? Known: .* \(in c.yaml\)"),
        ("fmax: small", r"Option 'fmax'.*'small'.*\(in c.yaml\)"),
        ("- fmax", "Expected lines of the form"),
        ("fmax: [", "Cannot read the configuration"),
        (None, "Cannot read the configuration"),
    ],
)
def test_bad_configuration_files(cli, copper, text, message):
    if text is not None:
        (cli.folder / "c.yaml").write_text(text)
    stderr = cli("relax", copper, "--config", "c.yaml", code=2).stderr
    assert pytest.importorskip("re").search(message, stderr.replace("\n", " ")), stderr


def test_an_empty_configuration_file(cli, copper):
    (cli.folder / "c.yaml").touch()
    cli("singlepoint", copper, "--config", "c.yaml")
    assert cli.summary("cu")["converged"]


@pytest.mark.parametrize("command", COMMANDS)
def test_templates_have_every_option_and_can_be_used(cli, copper, command):
    text = cli("template", command).stdout
    model = CONFIGS[command]
    assert yaml.safe_load(text) == model().model_dump()
    assert all(f"# {field.description}" in text for field in model.model_fields.values())
    (cli.folder / "t.yaml").write_text(text)
    cli(command, copper, "--config", "t.yaml")


def test_the_template_of_every_training(cli):
    for command in ("train", "train-generator", "train-hamiltonian", "train-property"):
        options = yaml.safe_load(cli("template", command).stdout)
        assert options == TEMPLATES[command]().model_dump(mode="json")


def test_an_unknown_template(cli):
    assert "relax" in cli("template", "relaxation", code=2).stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option(cli, command):
    text = cli(command, "--help").stdout
    for name in CONFIGS[command].model_fields:
        assert f"--{name.replace('_', '-')}" in text


def test_version(cli):
    assert cli("--version").stdout.strip() == f"matkit {matkit.__version__}"


def test_help_imports_no_torch():  # it takes 0.3 s without
    code = "import sys; from matkit.cli.app import app; print({'torch', 'ase'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_command_is_a_process_with_an_exit_code(tmp_path):
    words = [sys.executable, "-m", "matkit", "relax", "nothing.cif"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "nothing.cif" in done.stderr


def test_commands_share_a_folder_and_a_summary(cli, copper):
    cli("relax", copper)
    cli("md", copper, "--steps", 2)
    summary = cli.summary("cu")
    assert summary["command"] == "md"
    assert summary["earlier"]["relax"]["converged"]
    cli("relax", copper, code=2)
    cli("md", copper, "--steps", 2, code=2)
    cli("relax", copper, "--overwrite")
    assert set(cli.summary("cu")["earlier"]) == {"md"}


def test_a_foreign_file_in_the_place_of_the_summary_is_kept(cli, copper):
    (cli.folder / "results").mkdir()
    foreign = cli.folder / "results" / "cu-summary.json"
    foreign.write_text("[1, 2]")
    cli("relax", copper, code=2)
    assert foreign.read_text() == "[1, 2]"
