"""Files that were made to harm the reader of foreign checkpoints."""

import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from matkit.errors import CheckpointError
from matkit.models import safe_unpickle
from matkit.models.safe_unpickle import read_torch_zip


def written(path, program, members=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data.pkl", program)
        for name, data in members:
            archive.writestr(name, data)
    return path


class Call:
    """Pickled as a call; the reader looks the name up itself."""

    def __init__(self, *what):
        self.what = what

    def __reduce__(self):
        return self.what


def test_numpys_own_type_is_never_handed_out(tmp_path):
    """Its state can be set to flags with which numpy takes numbers for pointers."""
    kind = Call(np.dtype, ("f8", False, True), (3, "<", None, None, None, -1, -1, 63))
    content = read_torch_zip(written(tmp_path / "a.pth", pickle.dumps({"kind": kind}, 2)))
    assert isinstance(content["kind"], safe_unpickle.NumberType)


@pytest.mark.parametrize("code", ["O", "O8", "V8", "U4", "S3", "M8", "f16", "c16", "i4,i4", ""])
def test_only_plain_numbers_are_read(tmp_path, code):
    program = pickle.dumps(Call(np.dtype, (code, False, True)), 2)
    with pytest.raises(CheckpointError, match="are not read"):
        read_torch_zip(written(tmp_path / "a.pth", program))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        # A memo slot far away, for which the interpreter in C takes gigabytes.
        (b"\x80\x02K\x01r\xff\xff\xff\x7f.", None),
        (b"\x80\x02cnumpy\ndtype\n}b.", None),
        (b"\x80\x02ccollections\nOrderedDict\n(K\x01K\x02u.", "cannot be filled"),
        (b"\x80\x02K\x01(K\x02e.", "cannot be filled"),
        (b"\x80\x02X\x03\x00\x00\x00abcK\x01K\x02s.", "cannot be filled"),
        (
            b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x08\x00\x00\x00punycode\x86R.",
            "not read",
        ),
        (b"\x80\x02\x82\x01.", "may be truncated"),
        (b"\x80\x02\x95" + b"\xff" * 8, "may be truncated"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f", "may be truncated"),
    ],
)
def test_instructions_that_harm_do_not(tmp_path, program, message):
    path = written(tmp_path / "a.pth", program)
    if message is None:
        read_torch_zip(path)
    else:
        with pytest.raises(CheckpointError, match=message):
            read_torch_zip(path)


def test_functions_of_the_reader_keep_their_defaults(tmp_path):
    """BUILD sets attributes of whatever is on the stack, of functions too."""
    state = b"N}X\x0c\0\0\0__defaults__K\x01\x85s\x86"
    program = b"\x80\x02ctorch._utils\n_rebuild_parameter\n" + state + b"b."
    read_torch_zip(written(tmp_path / "a.pth", program))
    assert safe_unpickle._rebuild_parameter.__defaults__ is None


def test_a_tensor_is_no_larger_than_its_file(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"x": torch.zeros(1).expand(10)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    program = next(name for name in members if name.endswith("data.pkl"))
    # 10 elements become 2**31 - 1 of one.
    larger = members[program].replace(b"K\x0a\x85", b"J\xff\xff\xff\x7f\x85")
    assert larger != members[program]
    root = program.removesuffix("data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, larger if name == program else data)
        assert root
    with pytest.raises(CheckpointError, match="larger than the file"):
        read_torch_zip(path)


def test_archives_that_unpack_to_more_than_they_are(tmp_path):
    path = written(tmp_path / "a.pth", b"\x80\x02N.", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"):
        read_torch_zip(path)
    path = written(tmp_path / "b.pth", b"\x80\x02" + b"N0" * 2_000_001 + b"N.")
    with pytest.raises(CheckpointError, match="bytes"):
        read_torch_zip(path)


FUZZ = """
import io, random, resource, sys, zipfile
import numpy as np, torch
from pathlib import Path
from matkit.errors import CheckpointError
from matkit.models.safe_unpickle import read_torch_zip

resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
path, count, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(0)
content = {"t": torch.ones(3), "s": np.float32(1.5), "a": np.arange(3.0), "l": [1, (2.5, None)]}
torch.save(content, path)
with zipfile.ZipFile(path) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
program = next(name for name in members if name.endswith("data.pkl"))
refused, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(count):
    data = bytearray(members[program])
    for _ in range(rng.choice([1, 1, 2, 5])):
        i, extra = rng.randrange(len(data)), rng.randrange(1, 9)
        match rng.randrange(3):
            case 0: data[i] = rng.randrange(256)
            case 1: del data[i : i + extra]
            case 2: data[i:i] = rng.randbytes(extra)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(data) if name == program else content)
    try:
        read_torch_zip(path)
    except CheckpointError:
        refused += 1
print(refused, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10)
"""


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_files_neither_crash_nor_hang(tmp_path, count):
    words = [sys.executable, "-c", FUZZ, str(tmp_path / "a.pth"), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refused, megabytes = map(int, done.stdout.split())
    assert refused > count / 2
    assert megabytes < 500


def test_objects_are_kept_as_data_with_the_names_of_their_classes(tmp_path):
    """Functions are named and not called, here one that would end the process."""
    program = pickle.dumps({"call": Call(os._exit, (3,)), "function": os.getcwd}, 2)
    content = read_torch_zip(written(tmp_path / "a.pth", program))
    assert content["call"].source == f"{os.name}._exit"
    assert content["call"].arguments == (3,)
    assert content["function"].source == f"{os.name}.getcwd"


def test_attributes_of_objects_are_kept(tmp_path):
    layer = torch.nn.Linear(2, 3)
    torch.save(layer, tmp_path / "a.pth")
    content = read_torch_zip(tmp_path / "a.pth")
    assert content.source == "torch.nn.modules.linear.Linear"
    assert torch.equal(content.attributes["_parameters"]["weight"], layer.weight)
    assert content.attributes["in_features"] == 2
