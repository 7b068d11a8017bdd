from io import StringIO

import pytest
from rich.console import Console

from matkit.cli import display
from matkit.cli.flags import normalise
from matkit.cli.training import _listener
from matkit.simulate import SimulationProgress
from matkit.train.options import TrainOptions

STATES = [
    SimulationProgress(step=i, steps=4, energy=-1.0 - i, max_force=0.5 / (i + 1)) for i in range(5)
]


def test_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(display, "INTERVAL", 0.0)
    with display.Display().progress("cu.xyz") as show:
        for state in STATES:
            show(state)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("cu.xyz: step 0/4, -1.0000 eV, force 0.5000 eV/Å")
    assert lines[1].endswith("s left at most")
    assert len(lines) == 5


def test_lines_are_not_printed_all_the_time(capsys):
    with display.Display().progress("cu.xyz") as show:
        for state in STATES:
            show(state)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal():
    shown = display.Display()
    shown._err = Console(force_terminal=True, record=True, width=120)
    with shown.progress("cu.xyz") as show:
        for state in STATES:
            show(state)
        show(SimulationProgress(step=4, steps=4, energy=-5.0, temperature=301.0))
    text = shown._err.export_text()
    assert "cu.xyz" in text
    assert "301 K" in text


def test_results_of_a_training_do_not_share_a_line_with_the_bar():
    text = StringIO()
    shown = display.Display()
    shown._out = Console(file=text, force_terminal=True, width=80, color_system=None)
    shown._err = Console(file=text, force_terminal=True, width=80, color_system=None)
    with _listener(shown, TrainOptions(max_num_epochs=2)) as listener:
        listener.step(0, 1, 2)
        listener.epoch({"epoch": 1, "train_loss": 1.0, "valid_loss": 2.0}, True)
        listener.step(1, 1, 2)
    before, _, after = text.getvalue().partition("epoch 1/2, loss 1, validation 2 *\n")
    assert before.endswith("\x1b[2K")  # the bar's line was erased
    assert "epoch 2/2 " in after


def test_quiet_shows_no_progress():
    with display.Display(quiet=True).progress("cu.xyz") as show:
        assert show is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--relax_cell", "--relax-cell"),
        ("--relax_cell=true", "--relax-cell"),
        ("--relax-cell=False", "--no-relax-cell"),
        ("--relax-cell=maybe", "--relax-cell=maybe"),
        ("--fmax=True", "--fmax=True"),
        ("--out=my_folder", "--out=my_folder"),
        ("my_file", "my_file"),
        ("-i", "-i"),
    ],
)
def test_spelling_of_flags(word, expected):
    assert normalise(["relax", word], frozenset({"--relax-cell"})) == ["relax", expected]


def test_words_after_two_dashes_are_files():
    assert normalise(["--a_b", "--", "--c_d"], frozenset()) == ["--a-b", "--", "--c_d"]
