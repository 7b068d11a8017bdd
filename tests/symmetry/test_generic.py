import pytest

from matkit.symmetry.assignments import Assignments
from matkit.symmetry.generic import generic_group


def groups(number, counts, conventional=False):
    ways = Assignments(number, counts, conventional)
    return [generic_group(number, tuple(ways.way(index))) for index in range(ways.total)]


def test_special_positions_alone_may_have_more_symmetry():
    # 16c and 16d of Fd-3m together are a simple cubic lattice, here in a face-centred cell.
    assert sorted(groups(227, (8,)))[0] == 225
    assert groups(227, (8,), conventional=True) == [227, 227]


@pytest.mark.parametrize(
    ("number", "counts", "faithful"),
    [(225, (1, 1), 2), (167, (4, 6), 2), (136, (2, 4), 4), (62, (4, 4), 5), (14, (4, 8), 20)],
)
def test_free_coordinates_bring_no_symmetry_by_chance(number, counts, faithful):
    assert groups(number, counts).count(number) == faithful
