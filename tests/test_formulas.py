import pytest

from matkit.errors import ConfigError, UnknownNameError
from matkit.formulas import formula_text, parse_formula


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("Na4Cl4", "Na4Cl4"), ("OLi2O", "O2Li2"), (" Na4 Cl4 ", "Na4Cl4"), ("2NaCl", "Na2Cl2")],
        *[("Ca(OH)2", "CaO2H2"), ("K4[Fe(CN)6]", "K4FeC6N6"), ("Pb(I)2", "PbI2")],
        *[("CuSO4·5H2O", "CuSO9H10"), ("CuSO4.5H2O", "CuSO9H10"), ("LiCl*H2O", "LiClH2O")],
        *[("Fe₂O₃", "Fe2O3"), ("Li7La3Zr2O12", "Li7La3Zr2O12")],
    ],
)
def test_formulas_as_chemists_write_them(text, expected, caplog):
    assert formula_text(parse_formula(text)) == expected
    assert not caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("Fe3+", "Fe"), ("Fe2+O2-", "FeO"), ("SO4^2-", "SO4"), ("Na⁺Cl⁻", "NaCl")],
        *[("Fe(III)2O3", "Fe2O3"), ("Cu(I)Cl", "CuCl"), ("Mn^{4+}O2", "MnO2")],
    ],
)
def test_charges_are_left_out_with_a_note(text, expected, caplog):
    assert formula_text(parse_formula(text)) == expected
    assert f"taking {expected}" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *[
            (text, "such as Na4Cl4")
            for text in ("", "4", "(NaCl", "Na)", "(Na]", "()", "NaCl·", "Li-O")
        ],
        *[("nacl", "Did you mean NaCl?"), ("co2", "Did you mean Co2 or CO2?"), ("qq", "'qq'.$")],
        *[("Na0Cl", "at least one atom"), ("D2O", "isotope of hydrogen"), ("T2", "write H")],
        *[("Li0.5CoO2", "LiCo2O4, or a multiple"), ("La0.67Sr0.33MnO3", "La2SrMn3O9")],
        *[("Na4.314Cl", "Write how many atoms"), (200 * "co", "such as Na4Cl4.*'.$")],
    ],
)
def test_what_is_no_formula_of_whole_atoms(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_formula(text)


def test_unknown_symbols_are_named():
    with pytest.raises(UnknownNameError, match="Nq"):
        parse_formula("NqCl")
