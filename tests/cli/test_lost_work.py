"""Nothing that was computed is lost: overwriting, two runs at once, full disks, signals, kills."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.io import read, write

from matkit.cli import encoding, signals
from matkit.runs.locking import Lock


def everything(folder):
    """Content of every file that is not hidden."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name[0] != "."}


@pytest.mark.parametrize("command", ["singlepoint", "relax", "md"])
def test_overwriting_keeps_what_is_there_until_there_is_a_result(cli, copper, command):
    cli(command, copper)
    before = everything(cli.folder / "results")
    write("cu.xyz", bulk("U", "bcc", a=3.4))  # EMT does not know it
    with pytest.raises((NotImplementedError, AttributeError)):  # as EMT says it
        cli(command, copper, "--overwrite")
    assert everything(cli.folder / "results") == before


@pytest.mark.parametrize("command", ["singlepoint", "relax", "md"])
def test_overwriting_never_writes_through_a_link(cli, copper, command):
    precious = cli.folder / "precious"
    precious.write_text("precious")
    ends = ("cu-singlepoint.extxyz", "cu-relaxed.extxyz", "cu-final.extxyz", "cu-traj.extxyz")
    (cli.folder / "results").mkdir()
    for end in (*ends, "cu-stats.csv", "cu-summary.json", f"cu-{command}-config.yaml"):
        (cli.folder / "results" / end).symlink_to(precious)
    cli(command, copper, "--overwrite")
    assert precious.read_text() == "precious"
    assert json.loads((cli.folder / "results" / "cu-summary.json").read_text())


def test_a_link_to_nowhere_is_not_a_free_name(cli, copper):
    (cli.folder / "results").mkdir()
    (cli.folder / "results" / "cu-relaxed.extxyz").symlink_to("nowhere")
    assert "already are" in cli("relax", copper, code=2).stderr


@pytest.mark.parametrize("command", ["singlepoint", "relax", "md"])
def test_two_runs_on_the_same_results_do_not_mix(cli, copper, command):
    with Lock(cli.folder / "results" / ".cu.lock"):
        assert "another run is writing" in cli(command, copper, code=2).stderr
    cli(command, copper)


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "nequip-universal", "cu.xyz"],
        ["evaluate", "crystals", "cu.xyz"],
        ["data", "split", "cu.xyz"],
        ["data", "inspect", "cu.xyz"],
        ["data", "download", "perov-5"],
        ["ts", "water.xyz"],
        ["train", "--train-file", "cu.xyz", "--work-dir", "."],
    ],
    ids=" ".join,
)
def test_every_command_that_writes_is_alone_in_its_folder(cli, copper, words):
    write("water.xyz", molecule("H2O"))
    named = ["--name", "out"] if words[0] == "train" else ["--out", "out"]
    with Lock(cli.folder / "out" / ".matkit.lock"):
        assert "another run is writing" in cli(*words, *named, code=2).stderr


def test_a_run_that_was_killed_before_its_first_result_begins_again(cli, copper):
    (cli.folder / "results").mkdir()
    (cli.folder / "results" / "cu-relax-config.yaml").write_text("fmax: 1.0\n")
    cli("relax", copper)


def test_a_file_that_may_not_grow_ends_with_an_account(tmp_path):
    """The disk is full in the middle of a run: one message, and the last good frame is kept."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    write(tmp_path / "cu.xyz", atoms)
    script = (
        "import resource, sys, ase.calculators.emt, matkit.cli.loading as e, matkit.cli\n"
        "e.load_model = lambda config: ase.calculators.emt.EMT()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "sys.argv[1:] = 'md cu.xyz --steps 200 --traj-every 1 --json'.split()\n"
        "matkit.cli.main()"
    )
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (row,) = json.loads(done.stdout)["structures"]
    assert row["reason"] == "error"
    assert "File too large" in row["message"]
    frames = read(tmp_path / "results" / "cu-traj.extxyz", ":")
    assert len(frames) > 1  # and the last of them is whole
    assert (tmp_path / "results" / "cu-last-good.extxyz").is_file()
    summary = json.loads((tmp_path / "results" / "cu-summary.json").read_text())
    assert summary["structures"][0]["reason"] == "error"


def test_a_name_that_is_a_folder_is_one_message(cli, copper):
    (cli.folder / "results" / "cu-relaxed.extxyz").mkdir(parents=True)
    (cli.folder / "results" / "cu-relaxed.extxyz" / "x").touch()
    result = cli("relax", copper, "--overwrite", code=1)
    assert "could not be written" in result.stdout
    assert cli.summary("cu")["structures"][0]["reason"] == "unwritten"


def test_an_output_folder_that_is_a_file_is_one_message(cli, copper):
    Path("results").write_text("in the way")
    assert "in the way" not in (message := cli("relax", copper, code=2).stderr)
    assert message.splitlines()[-1].startswith("Error: [Errno 17] File exists: 'results'")


@pytest.fixture
def many(cli):
    frames = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    write("many.xyz", frames)
    return "many.xyz"


def rows(cli, out):
    kept = cli.summary("many", out)["structures"]
    return [{k: v for k, v in row.items() if k != "wall_time"} for row in kept]


def test_a_run_over_many_structures_goes_on_where_it_was_ended(cli, many, monkeypatch):
    cli("relax", many, "-o", "whole")
    cli("relax", many, "-o", "parts")
    journal = cli.folder / "parts" / ".many-relax.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # two are done, one line is torn
    (cli.folder / "parts" / "many-summary.json").unlink()
    done = cli("relax", many, "-o", "parts", "--restart", "auto")
    assert done.stdout.count("done before") == 2
    assert rows(cli, "parts") == rows(cli, "whole")
    whole, parts = (cli.folder / out / "many-relaxed.extxyz" for out in ("whole", "parts"))
    assert parts.read_bytes() == whole.read_bytes()


def test_a_run_does_not_go_on_with_other_options(cli, many):
    cli("relax", many)
    message = cli("relax", many, "--restart", "auto", "--fmax", 0.5, code=2).stderr
    assert "fmax = 0.01 then, 0.5 now" in message


def test_a_structure_that_was_changed_is_done_again(cli, many):
    cli("relax", many)
    frames = read(many, ":")
    frames[1].rattle(0.1, seed=9)
    write(many, frames)
    assert cli("relax", many, "--restart", "auto").stdout.count("done before") == 3


def test_masses_and_constraints_make_another_structure(cli, many):
    frames = read(many, ":")
    write(many, frames, format="traj")
    cli("singlepoint", many, "--format", "traj")
    frames[1].set_masses([60.0] * 4)
    frames[2].set_constraint(FixAtoms([0]))
    write(many, frames, format="traj")
    words = ["singlepoint", many, "--format", "traj", "--restart", "auto"]
    assert cli(*words).stdout.count("done before") == 2


def test_a_model_that_was_replaced_is_another(cli, many, monkeypatch):
    cli("singlepoint", many)
    monkeypatch.setattr("matkit.cli.execute.model_info", lambda calc: {"sha256": "other"})
    message = cli("singlepoint", many, "--restart", "auto", code=2).stderr
    assert "weights = None then, 'other' now" in message


def test_an_option_that_is_new_had_its_default(cli, many):
    cli("relax", many)
    journal = cli.folder / "results" / ".many-relax.jsonl"
    first, rest = journal.read_text().split("\n", 1)
    old = {name: value for name, value in json.loads(first).items() if name != "fmax"}
    journal.write_text(f"{json.dumps(old)}\n{rest}")
    words = ["relax", many, "--restart", "auto"]
    assert "0.5 now" in cli(*words, "--fmax", 0.5, code=2).stderr
    assert cli(*words).stdout.count("done before") == 4


@pytest.mark.parametrize("text", ["{\n", "[]\n[]\n", '{}\n{"index": 0}\n'])
def test_a_damaged_journal_is_one_message(cli, many, text):
    cli("singlepoint", many)
    (cli.folder / "results" / ".many-singlepoint.jsonl").write_text(text)
    message = cli("singlepoint", many, "--restart", "auto", code=2).stderr
    assert "does not say what was done before" in message


def test_ctrl_c_while_a_result_is_written_leaves_a_summary(cli, many, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("matkit.cli.products.append_frame", stop)
    cli("singlepoint", many, code=130)
    reasons = [row["reason"] for row in cli.summary("many")["structures"]]
    assert reasons == ["interrupted"] * 4


def test_only_md_goes_on_from_a_file(cli, many):
    assert "only md" in cli("relax", many, "--restart", "x.npz", code=2).stderr


# Ctrl-C is ignored in what a shell runs in the background, and by all that is started there.
KILL = (
    "import signal, sys, ase.calculators.emt, matkit.cli.loading as e, matkit.cli\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "e.load_model = lambda config: ase.calculators.emt.EMT()\n"
    "matkit.cli.main()"
)


@pytest.mark.slow
def test_ten_kills_of_a_relaxation_change_no_bit(cli, many):
    frames = read(many, ":") * 100
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    write(many, frames)
    words = [sys.executable, "-c", KILL, "relax", many, "--restart", "auto", "-o"]
    subprocess.run([*words, "whole"], check=True, capture_output=True)
    journal, rng = cli.folder / "killed" / ".many-relax.jsonl", random.Random(0)
    for _ in range(10):
        before = journal.stat().st_size if journal.exists() else 0
        with subprocess.Popen([*words, "killed"], stdout=-3, stderr=-3) as process:
            while not journal.exists() or journal.stat().st_size == before:
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, 0.05))
            process.kill()
            assert process.wait() == -signal.SIGKILL
    subprocess.run([*words, "killed"], check=True, capture_output=True)
    assert rows(cli, "killed") == rows(cli, "whole")
    whole, killed = (cli.folder / out / "many-relaxed.extxyz" for out in ("whole", "killed"))
    assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow), signal.SIGINT],
)
def test_signals_that_end_a_process_end_a_run_in_order(tmp_path, number):
    """A second one, while the account is written, does no harm."""
    write(tmp_path / "cu.xyz", bulk("Cu", cubic=True) * (3, 3, 3))
    words = [sys.executable, "-c", KILL, "md", "cu.xyz", "--steps", "1000000"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=-3, stderr=-3) as process:
        deadline = time.monotonic() + 600
        while not (tmp_path / "results" / "cu-traj.extxyz").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(600) == 130
    (row,) = json.loads((tmp_path / "results" / "cu-summary.json").read_text())["structures"]
    assert row["reason"] == "interrupted"
    assert (tmp_path / "results" / "cu-last-good.extxyz").is_file()


def test_what_is_ignored_stays_ignored(monkeypatch):
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with signals.ending_in_order():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # soon after: not heeded
            monkeypatch.setattr(signals, "GRACE", 0.0)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the interpreter is about to end
    finally:
        for number in (*before, signal.SIGTERM):
            signal.signal(number, before.get(number, signal.SIG_DFL))


def test_terminals_that_know_ascii_only_do_not_end_a_run(tmp_path):
    write(tmp_path / "cu.xyz", bulk("Cu", cubic=True))
    words = [sys.executable, "-c", KILL, "singlepoint", "cu.xyz"]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(words, cwd=tmp_path, env=ascii_only, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"eV/A" in done.stdout


@pytest.mark.parametrize(
    ("text", "spelled"), [("Å²", b"A^2"), ("→ 3 ≤ 2", b"-> 3 <= 2"), ("é—☃", b"e??"), ("ok", b"ok")]
)
def test_signs_are_spelled_out(text, spelled):
    encoding.spell_out()
    assert text.encode("ascii", errors="matkit.spell_out") == spelled


def test_a_pipe_that_is_closed_does_not_end_a_run(tmp_path):
    write(tmp_path / "cu.xyz", [bulk("Cu", cubic=True)] * 3)
    command = f"{sys.executable} -c '{KILL}' singlepoint cu.xyz | true"
    subprocess.run(command, cwd=tmp_path, shell=True, check=True, capture_output=True)
    assert len(read(tmp_path / "results" / "cu-singlepoint.extxyz", ":")) == 3
