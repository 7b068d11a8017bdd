import pytest

from matkit.cli.flags import normalise


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
