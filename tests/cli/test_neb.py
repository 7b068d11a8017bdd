import json

import pytest
import yaml
from ase.calculators.calculator import CalculationFailed
from ase.io import read, write

from tests.transition.surfaces import MINIMA, MuellerBrown, particle

FILES = ("path.extxyz", "metrics.json", "profile.png", "report.html", "config.yaml")


@pytest.fixture
def surface(cli):
    """The command line with Müller and Brown's surface in the place of the model, and files."""
    cli.calculator = MuellerBrown
    columns = ["symbols", "positions", "move_mask"]
    for number, place in enumerate(MINIMA):
        write(f"minimum{number}.xyz", particle(*place), format="extxyz", columns=columns)
    return cli


ENDS = ("minimum1.xyz", "minimum2.xyz")


def test_files_and_words(surface):
    result = surface("neb", *ENDS, "--images", 5)
    assert "barrier 0.0" in result.stdout
    assert "image  length" in result.stdout
    folder = surface.folder / "neb"
    assert all((folder / name).stat().st_size for name in FILES)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["settings"]["images"] == 5
    assert metrics["converged"] is True
    frames = read(folder / "path.extxyz", ":")
    energies = [frame.get_potential_energy() for frame in frames]
    assert max(energies) - energies[0] == pytest.approx(metrics["barrier"], abs=1e-6)


def test_json_names_the_files(surface):
    document = json.loads(surface("neb", *ENDS, "--json", "--out", "here").stdout)
    assert "here/path.extxyz" in document["outputs"]
    assert all((surface.folder / name).is_file() for name in document["outputs"])


def test_a_band_that_does_not_converge_has_an_exit_code_and_goes_on(surface):
    assert "not converged" in surface("neb", *ENDS, "--steps", 3, code=1).stdout
    assert "already are" in surface("neb", *ENDS, code=2).stderr
    changed = surface("neb", *ENDS, "--restart", "auto", "--steps", 300, code=2).stderr
    assert "steps = 3 then, 300 now" in changed
    assert surface("neb", *ENDS, "--overwrite").exit_code == 0


def test_a_band_that_was_stopped_goes_on(surface):
    class Stopped(MuellerBrown):
        calls = 0

        def calculate(self, *args, **kwargs):
            Stopped.calls += 1
            if Stopped.calls == 150:
                raise KeyboardInterrupt
            super().calculate(*args, **kwargs)

    surface.calculator = Stopped
    surface("neb", *ENDS, code=130)
    kept = read("neb/path.extxyz", "0").info["band_steps"]
    assert kept >= 10
    before = Stopped.calls
    surface("neb", *ENDS, "--restart", "auto")
    metrics = json.loads((surface.folder / "neb" / "metrics.json").read_text())
    assert metrics["converged"] is True
    assert Stopped.calls - before <= 7 * (metrics["steps"] - kept + 2)


def test_other_ends_are_refused_before_anything_is_written(surface):
    stderr = surface("neb", "minimum1.xyz", code=2).stderr
    assert "Expected two structures, the initial and the final one, got 1" in stderr
    assert "fixed names" in surface("neb", *ENDS, "--suffix", "x", code=2).stderr
    assert not (surface.folder / "neb").exists()


def test_a_structure_that_cannot_be_read_is_named(surface):
    (surface.folder / "bad.xyz").write_text("what is this?\n")
    assert "bad.xyz" in surface("neb", "minimum1.xyz", "bad.xyz", code=2).stderr


def test_a_failing_calculator_leaves_no_results(surface):
    class Failing(MuellerBrown):
        def calculate(self, *args, **kwargs):
            raise CalculationFailed("no luck")

    surface.calculator = Failing
    assert "The calculator failed (CalculationFailed" in surface("neb", *ENDS, code=2).stderr


def test_a_template_can_be_run(surface):
    text = surface("template", "neb").stdout
    (surface.folder / "all.yaml").write_text(text)
    assert yaml.safe_load(text)["images"] == 7
    surface("neb", *ENDS, "--config", "all.yaml")
