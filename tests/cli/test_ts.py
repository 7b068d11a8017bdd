import json

import pytest
import yaml
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.io import read, write

from tests.transition.surfaces import MINIMA, SADDLES, MuellerBrown, particle

DIFFERENCES = ("--hessian", "finite-difference")
STRUCTURES = ("path.extxyz", "ts.extxyz", "irc.extxyz", "minima.extxyz")
FILES = (*STRUCTURES, "metrics.json", "profile.png", "report.html")


@pytest.fixture
def surface(cli):
    """The command line with Müller and Brown's surface in the place of the model, and files."""
    cli.calculator = MuellerBrown
    columns = ["symbols", "positions", "move_mask"]
    for number, place in enumerate(MINIMA):
        write(f"minimum{number}.xyz", particle(*place), format="extxyz", columns=columns)
    write("guess.xyz", particle(*SADDLES[0] + 0.02), format="extxyz", columns=columns)
    return cli


def test_files_and_words(surface):
    result = surface("ts", "minimum1.xyz", "minimum2.xyz", *DIFFERENCES)
    assert "transition state" in result.stdout
    assert "reactant identical" in result.stdout
    folder = surface.folder / "ts"
    assert all((folder / name).stat().st_size for name in FILES)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["connects"] is True
    assert metrics["settings"]["imaginary_above"] == 50.0
    assert read(folder / "ts.extxyz").positions[1, :2] == pytest.approx(SADDLES[1], abs=2e-3)
    assert len(read(folder / "path.extxyz", ":")) == metrics["settings"]["images"] + 2
    sides = [frame.info["side"] for frame in read(folder / "irc.extxyz", ":")]
    assert sides == sorted(sides)
    assert sides.count(0) == 1


def test_a_guess_and_json(surface):
    result = surface("ts", "guess.xyz", *DIFFERENCES, "--json", "--out", "here")
    document = json.loads(result.stdout)
    assert document["converged"] is True
    assert len(document["imaginary"]) == 1
    assert document["band"] is None
    assert "here/irc.extxyz" in document["outputs"]
    assert all((surface.folder / name).is_file() for name in document["outputs"])


def test_bonds_that_break_are_named(surface):
    tblite = pytest.importorskip("tblite.ase")
    surface.calculator = lambda: tblite.TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    write("hcn.xyz", Atoms("HCN", [[0.7, 1.1, 0], [0, 0, 0], [1.15, 0, 0]]))
    out = surface("ts", "hcn.xyz", *DIFFERENCES).stdout
    assert "H0-C1 breaks, H0-N2 forms" in out or "H0-N2 breaks, H0-C1 forms" in out


def test_failures_have_an_exit_code_and_a_reason(surface):
    result = surface("ts", "minimum0.xyz", "minimum2.xyz", *DIFFERENCES, code=1)
    assert "failed: the path does not lead from reactant to product" in result.stdout
    result = surface(
        "ts", "guess.xyz", *DIFFERENCES, "--out", "b", "--steps", 1, "--fmax", 1e-4, code=1
    )
    assert "failed: the search is not converged" in result.stdout


def test_results_are_not_replaced_but_gone_on_with(surface):
    words = ("ts", "guess.xyz", *DIFFERENCES)
    surface(*words)
    assert "already are" in surface(*words, code=2).stderr
    assert "0 steps of the search" in surface(*words, "--restart", "auto").stdout
    changed = surface(*words, "--restart", "auto", "--fmax", 0.02, code=2).stderr
    assert "fmax = 0.01 then, 0.02 now" in changed
    assert "0 steps of the search" not in surface(*words, "--overwrite").stdout


def test_a_template_can_be_run(surface):
    content = yaml.safe_load(surface("template", "ts").stdout)
    assert content["out"] == "ts"
    (surface.folder / "all.yaml").write_text(yaml.safe_dump(content | {"irc": False}))
    surface("ts", "guess.xyz", "--config", "all.yaml", *DIFFERENCES)
    assert not (surface.folder / "ts/irc.extxyz").exists()


class Failing(MuellerBrown):
    """Fails as codes of quantum chemistry do."""

    def calculate(self, *args, **kwargs):
        raise CalculationFailed("SCF not converged")


def test_bad_input(surface):
    assert "got 3" in surface("ts", *(f"minimum{n}.xyz" for n in range(3)), code=2).stderr
    same = surface("ts", "guess.xyz", "guess.xyz", *DIFFERENCES, code=2).stderr
    assert "the same molecule" in same
    assert "fixed names" in surface("ts", "guess.xyz", "--suffix", "x", code=2).stderr
    assert "no file" in surface("ts", "none.xyz", code=2).stderr
    (surface.folder / "bad.xyz").write_text("1\n\nH nan 0 0\n1\n\nH 0 0 0\n")
    assert "NaN" in surface("ts", "bad.xyz", code=2).stderr
    surface.calculator = Failing
    failed = surface("ts", "guess.xyz", *DIFFERENCES, "--overwrite", code=2).stderr
    assert "SCF not converged" in failed


def test_relax_with_rfo(surface):
    surface("relax", "guess.xyz", "--optimizer", "rfo", *DIFFERENCES, "--hessian-every", 2)
    row = surface.summary("guess")["structures"][0]
    assert row["converged"] is True
    assert row["energy"] < row["initial_energy"] - 0.1
