"""Results survive whatever happens to the process."""

import json
import os

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from matkit.errors import ConfigError, DataError, OutputExistsError
from matkit.runs.items import Item, ItemResult, Shard, failed, fingerprint, parse_shard
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, read_rows

SETTINGS = {"calculator": "lj", "level": None}


def item(index: int) -> Item:
    return Item(index, f"s.xyz[{index}]", Atoms("H", [(index, 0, 0)]))


def outcome(index: int) -> ItemResult:
    """A frame and a Hessian by which the item is recognised."""
    one = item(index)
    return ItemResult(one, "done", (one.content,), matrix=np.full((3, 3), index, "<f4"))


def ledger(folder, **more) -> Ledger:
    return Ledger(Files(folder, "labels"), SETTINGS, **more)


def places(folder) -> list[float]:
    path = folder / "labels.extxyz"
    return [atoms.positions[0, 0] for atoms in read(path, ":")] if path.stat().st_size else []


def test_what_is_committed_is_known(tmp_path):
    with ledger(tmp_path) as first:
        first.commit([outcome(0), failed(item(1), ValueError("no\nway"))])
        assert first.is_known(item(0))
        assert not first.is_known(item(2))
    with ledger(tmp_path) as second:
        assert second.is_known(item(1))
        assert second.counts == {"done": 1, "rejected": 0, "failed": 1}
        second.commit([outcome(2)])
    rows = list(read_rows(Files(tmp_path, "labels")))
    assert [row["reason"] for row in rows] == ["", "ValueError: no way", ""]
    assert [row["matrix"] for row in rows] == [[0, 3, "<f4"], None, [36, 3, "<f4"]]
    assert places(tmp_path) == [0, 2]


def test_results_are_there_before_the_ledger_is_closed(tmp_path):
    with ledger(tmp_path) as first:
        first.commit([outcome(0)])
        assert places(tmp_path) == [0]
        assert len(list(read_rows(first.files))) == 1


def whole(folder) -> dict[str, bytes]:
    return {end: (folder / f"labels{end}").read_bytes() for end in (".extxyz", ".matrices")}


@pytest.mark.parametrize("ending", [".extxyz", ".jsonl", ".matrices"])
def test_a_run_cut_off_at_any_byte_goes_on(tmp_path, ending):
    """Whichever file lost its end, the result is that of a run without interruption."""
    with ledger(tmp_path) as run:
        run.commit([outcome(i) for i in range(4)])
    expected, path = whole(tmp_path), tmp_path / f"labels{ending}"
    good = {p: p.read_bytes() for p in tmp_path.iterdir()}
    size = len(good[path])
    for cut in sorted({0, 1, size // 3, size // 2, size - 1}):
        for name, content in good.items():
            name.write_bytes(content)
        os.truncate(path, cut)
        with ledger(tmp_path) as run:
            left = [i for i in range(4) if not run.is_known(item(i))]
            assert left
            run.commit([outcome(i) for i in left])
        assert whole(tmp_path) == expected


def test_half_a_line_of_the_ledger_is_no_result(tmp_path):
    with ledger(tmp_path) as run:
        run.commit([outcome(0)])
    with (tmp_path / "labels.jsonl").open("a") as stream:
        stream.write('{"index": 1, "status": "done"}\n{"ind')
    with ledger(tmp_path) as run:
        assert not run.is_known(item(1))
    assert len((tmp_path / "labels.jsonl").read_text().splitlines()) == 1


def test_structures_are_sorted(tmp_path):
    with ledger(tmp_path) as run:
        run.commit([outcome(2), outcome(0)])
        run.commit([failed(item(3), "?"), outcome(1)])
        run.sort()
        assert places(tmp_path) == [0, 1, 2]
        run.commit([outcome(4)])
    rows = list(read_rows(run.files))
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    numbers = np.fromfile(tmp_path / "labels.matrices", "<f4")
    found = [numbers[row["matrix"][0] // 4] for row in rows if row["matrix"]]
    assert found == [0, 1, 2, 4]
    assert places(tmp_path) == [0, 1, 2, 4]


@pytest.mark.parametrize("survives", [0, 1, 2])
def test_a_sorting_that_was_cut_off_is_finished(tmp_path, monkeypatch, survives):
    replace, left = os.replace, [survives]

    def dies(*paths):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(*paths)

    run = ledger(tmp_path)
    run.commit([outcome(1), outcome(0)])
    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        run.sort()
    run.close()
    monkeypatch.setattr(os, "replace", replace)
    with ledger(tmp_path) as again:
        assert again.is_known(item(0))
        assert again.is_known(item(1))
        again.sort()
    assert places(tmp_path) == [0, 1]
    assert not (tmp_path / "labels.sorted.jsonl").exists()


def test_failures_are_done_again_on_request(tmp_path):
    with ledger(tmp_path) as run:
        run.commit([failed(item(0), "?"), outcome(1)])
    with ledger(tmp_path) as run:
        assert run.is_known(item(0))
    with ledger(tmp_path, retry=True) as run:
        assert not run.is_known(item(0))
        run.commit([outcome(0)])
        run.sort()
        assert run.counts == {"done": 2, "rejected": 0, "failed": 0}
    assert places(tmp_path) == [0, 1]


def test_another_input_is_noticed(tmp_path):
    with ledger(tmp_path) as run:
        run.commit([outcome(0)])
    with ledger(tmp_path) as run, pytest.raises(DataError, match=r"Expected in other\.xyz\[0\]"):
        run.is_known(Item(0, "other.xyz[0]", Atoms("H", [(0, 0, 1)])))


def test_other_settings_are_noticed(tmp_path):
    ledger(tmp_path).close()
    with pytest.raises(ConfigError, match="calculator = 'lj' then, 'emt' now"):
        Ledger(Files(tmp_path, "labels"), SETTINGS | {"calculator": "emt"})
    with ledger(tmp_path) as run:  # the lock was given back
        run.commit([outcome(0)])


def test_overwrite_begins_anew(tmp_path):
    with ledger(tmp_path) as run:
        run.commit([outcome(0)])
    with Ledger(Files(tmp_path, "labels"), {"other": 1}, overwrite=True) as run:
        assert not run.is_known(item(0))
    assert not places(tmp_path)
    assert json.loads((tmp_path / "labels.json").read_text()) == {"settings": {"other": 1}}


def end(run):
    """Do what the system does when a process is killed."""
    for stream in (*run._streams.values(), run._lock):
        stream.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_old_results_come_back_if_the_new_run_ends_without_any(tmp_path, error):
    with ledger(tmp_path) as first:
        first.commit([outcome(0)])
    before = whole(tmp_path)

    def fail():
        with ledger(tmp_path, overwrite=True) as second:
            second.commit([failed(item(1), "no calculator")])
            raise error

    with pytest.raises(error):
        fail()
    assert whole(tmp_path) == before


def test_old_results_come_back_after_kill_9_before_the_first_new_one(tmp_path):
    with ledger(tmp_path) as first:
        first.commit([outcome(0)])
    before = whole(tmp_path)
    killed = ledger(tmp_path, overwrite=True)
    assert places(tmp_path) == []
    end(killed)
    with ledger(tmp_path):
        pass
    assert whole(tmp_path) == before


def test_old_results_are_gone_after_kill_9_behind_the_first_new_one(tmp_path):
    with ledger(tmp_path) as first:
        first.commit([outcome(0)])
    killed = ledger(tmp_path, overwrite=True)
    killed.commit([outcome(5)])
    end(killed)
    with ledger(tmp_path):
        pass
    assert places(tmp_path) == [5]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"settings": 3}', "{"])
def test_settings_that_say_nothing(tmp_path, text):
    with ledger(tmp_path) as first:
        first.commit([outcome(0)])
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(ConfigError, match="does not say how"):
        ledger(tmp_path)


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "labels.extxyz").write_text("precious")
    with pytest.raises(OutputExistsError, match="how it was made"):
        ledger(tmp_path)
    assert (tmp_path / "labels.extxyz").read_text() == "precious"


def test_two_runs_do_not_write_to_the_same_files(tmp_path):
    pytest.importorskip("fcntl")
    with ledger(tmp_path), pytest.raises(ConfigError, match="another run is writing"):
        ledger(tmp_path)
    with ledger(tmp_path), Ledger(Files(tmp_path, "labels", Shard(2, 2)), SETTINGS):
        pass


def test_shards_divide_all_items():
    parts = [
        [one.index for one in parse_shard(f"{n}/3").of(map(item, range(8)))] for n in (1, 2, 3)
    ]
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_impossible_shards(text):
    with pytest.raises(ConfigError, match="Expected a shard such as 1/4"):
        parse_shard(text)


def test_fingerprints_tell_contents_apart():
    contents = [Atoms("H"), Atoms("He"), Atoms("H", pbc=True), "CCO", ("H", 1), None]
    marks = {fingerprint(Item(0, "", content)) for content in contents}
    assert len(marks) == len(contents)
    assert fingerprint(Item(0, "", Atoms("H"))) == fingerprint(Item(1, "elsewhere", Atoms("H")))


@pytest.mark.parametrize("now", [True, False])
def test_an_option_that_is_new_had_its_default(tmp_path, now):
    ledger(tmp_path).close()
    files, settings = Files(tmp_path, "labels"), SETTINGS | {"forces": now}
    if now:
        Ledger(files, settings, defaults={"forces": True, "unused": object()}).close()
        return
    with pytest.raises(ConfigError, match="forces = True then, False now"):
        Ledger(files, settings, defaults={"forces": True})
