"""Zip archives: odd names, damage and bombs."""

import stat
import zipfile

import pytest

from matkit.crystals import archives
from matkit.crystals.reading import read_crystals
from matkit.errors import DataError
from tests.crystals import samples


@pytest.fixture(scope="module")
def text():
    return samples.salt().to(fmt="cif")


def made(path, members, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def found(path):
    """What is said of every entry, empty for a crystal, by its name in the archive."""
    return [(c.source.removeprefix(f"{path}:"), c.reason) for c in read_crystals(path)]


def spoilt(path, name):
    """Damage the bytes of a member and leave the directory of the archive whole."""
    content = bytearray(path.read_bytes())
    begin = content.index(name.encode()) + len(name)
    content[begin + 4 : begin + 40] = b"\xff" * 36
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_odd_names_are_only_names(tmp_path, text):
    names = [
        "../../out.cif",
        "/out.cif",
        "a\\b.cif",
        "ä😀.cif",
        "x" * 300 + ".cif",
        "a.cif",
        "a.cif",
    ]
    path = made(tmp_path / "a.zip", [(name, text) for name in (*names, "notes.txt", "deep/")])
    entries = found(path)
    assert len(entries) == len(names)
    assert not any(reason for _, reason in entries)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]
    assert not (tmp_path.parent / "out.cif").exists()


def test_a_null_byte_in_a_name(tmp_path, text):
    path = made(tmp_path / "a.zip", [("a.cif", text)])
    path.write_bytes(path.read_bytes().replace(b"a.cif", b"\0.cif"))
    assert found(path) == [("\\x00.cif[0]", "")]


def test_links_archives_and_encrypted_members_are_counted(tmp_path, text):
    link = zipfile.ZipInfo("link.cif")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    members = [(link, "/etc/passwd"), ("inner.zip", b"PK"), ("secret.cif", text), ("z.cif", text)]
    path = made(tmp_path / "a.zip", members)
    content = bytearray(path.read_bytes())
    for start, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the third of each
        at = -1
        for _ in range(3):
            at = content.index(start, at + 1)
        content[at + flags] |= 1
    path.write_bytes(content)
    reasons = dict(found(path))
    assert "archive in the archive" in reasons["inner.zip[0]"]
    assert "link" in reasons["link.cif[0]"]
    assert "encrypted" in reasons["secret.cif[0]"]
    assert reasons["z.cif[0]"] == ""


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_member_is_counted_and_costs_no_other(tmp_path, text, kind):
    path = made(tmp_path / "a.zip", [("1.cif", text), ("2.cif", text), ("3.cif", text)], kind)
    spoilt(path, "2.cif")
    reasons = [reason for _, reason in found(path)]
    assert "it is damaged" in reasons[1]
    assert reasons[::2] == ["", ""]


def test_a_bomb_is_counted_and_not_unpacked(tmp_path, text, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_COUNTS_FROM", 1 << 16)
    path = made(tmp_path / "a.zip", [("bomb.cif", b"\0" * (1 << 20)), ("z.cif", text)])
    assert [reason[:8] for _, reason in found(path)] == ["it grows", ""]
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 1 << 10)
    path = made(tmp_path / "b.zip", [("large.cif", text * 4)], zipfile.ZIP_STORED)
    assert "when it is unpacked" in found(path)[0][1]


@pytest.mark.parametrize("limit", ["MOST_MEMBERS", "LARGEST_TOTAL"])
def test_an_archive_of_too_much_is_refused(tmp_path, text, monkeypatch, limit):
    monkeypatch.setattr(archives, limit, 1)
    path = made(tmp_path / "a.zip", [("1.cif", text), ("2.cif", text)])
    with pytest.raises(DataError, match="Unpack it, and name the folder"):
        read_crystals(path)


def test_tables_in_an_archive(tmp_path):
    members = [("numbers.csv", "formula,energy\nNaCl,1\n"), ("rows.csv", "cif,id\nnothing,1\n")]
    path = made(tmp_path / "a.zip", members)
    assert [name for name, _ in found(path)] == ["rows.csv[0]"]
