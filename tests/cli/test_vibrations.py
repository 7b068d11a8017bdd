import numpy as np
import pytest
import yaml
from ase.io import read, write

from tests.vibrations.springs import ammonia, nitrogen, springs


@pytest.fixture
def molecules(cli):
    """The command line with springs in the place of the model, and two files."""
    cli.calculator = lambda: springs(constant=20.0)  # no bond is stiffer than H2
    start = ammonia()
    start.rattle(0.03, seed=1)
    write("ammonia.xyz", start)
    write("nitrogen.xyz", nitrogen())
    return cli


def test_files_and_tables(molecules):
    result = molecules("vibrations", "ammonia.xyz", "--temperature", 400, "--pressure", 2)
    assert "ammonia.xyz NH3: converged, 6 modes (autograd), none imaginary" in result.stdout
    assert "reduced mass (amu)  infrared\n" in result.stdout
    assert "ideal gas, 400 K, 2 bar; nonlinear, symmetry number 3" in result.stdout
    (row,) = molecules.summary("ammonia")["structures"]
    assert f"{row['frequencies'][-1]:.2f}" in result.stdout
    assert row["thermochemistry"]["gibbs_energy"] < row["energy"] + row["zero_point_energy"]
    frames = read("results/ammonia-modes.extxyz", ":")
    found = dict.fromkeys(frame.info["wavenumber"] for frame in frames)
    assert list(found) == pytest.approx(row["frequencies"])
    relaxed = read("results/ammonia-vibrations.extxyz")
    assert np.abs(relaxed.get_forces()).max() < 1e-3
    assert np.array_equal(frames[0].positions, relaxed.positions)
    config = yaml.safe_load(
        (molecules.folder / "results/ammonia-vibrations-config.yaml").read_text()
    )
    assert (config["temperature"], config["pressure"], config["relax"]) == (400, 2, True)


def test_warnings_come_before_the_table(molecules):
    result = molecules("vibrations", "ammonia.xyz", "--no-relax", "--method", "finite-difference")
    first, table, *_ = result.stdout.splitlines()
    assert "gradient norm" in first
    assert "wavenumber" in table


def test_a_model_without_head_cannot_predict(molecules):
    result = molecules("vibrations", "ammonia.xyz", "--method", "predict", code=2)
    assert "predicts no Hessians" in result.stderr


def test_imaginary_modes_are_written_with_i(molecules):
    molecules.calculator = lambda: springs(constant=-30.0)
    words = ("vibrations", "nitrogen.xyz", "--no-relax")
    result = molecules(*words)
    (row,) = molecules.summary("nitrogen")["structures"]
    (frequency,) = row["frequencies"]
    assert f"imaginary: {-frequency:.2f}i 1/cm" in result.stdout
    assert "got 1" in result.stdout
    assert row["thermochemistry"] is None
    result = molecules(*words, "--transition-state", "--overwrite")
    assert "Gibbs energy" in result.stdout


def test_a_relaxation_that_does_not_end_is_not_a_success(molecules):
    molecules("vibrations", "ammonia.xyz", "--steps", 1, code=1)
    assert molecules.summary("ammonia")["structures"][0]["reason"] == "max_steps"


def test_a_template_can_be_run(molecules):
    (molecules.folder / "all.yaml").write_text(molecules("template", "vibrations").stdout)
    molecules("vibrations", "nitrogen.xyz", "--config", "all.yaml")
    assert molecules.summary("nitrogen")["options"]["temperature"] == 298.15


def test_bad_input_among_good(molecules):
    wrong = nitrogen()
    wrong.set_cell([9, 9, 9])
    wrong.pbc = True
    write("wrong.xyz", wrong)
    result = molecules("vibrations", "nitrogen.xyz", "wrong.xyz", code=1)
    assert "nitrogen.xyz N2: converged" in result.stdout
    assert "matkit phonons" in result.stdout


def test_results_are_not_replaced(molecules):
    molecules("vibrations", "nitrogen.xyz")
    assert "already are" in molecules("vibrations", "nitrogen.xyz", code=2).stderr
    molecules("vibrations", "nitrogen.xyz", "--overwrite")
    assert len(read("results/nitrogen-modes.extxyz", ":")) == 20
