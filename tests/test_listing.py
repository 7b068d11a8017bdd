from matkit.listing import first_names


def test_long_lists_are_cut():
    assert first_names("abc") == "a, b, c"
    assert first_names(map(str, range(1, 9))) == "1, 2, 3, 4, 5 and 3 more"
