"""The report on molecules."""

import pytest
from ase.build import molecule

from matkit.molecules.evaluation import MoleculeEvaluation
from matkit.molecules.judging import DrawnMolecule, judge_molecules
from matkit.molecules.pages import histograms
from matkit.report.figures import png


def judged(*names):
    return judge_molecules([DrawnMolecule(name, molecule(name)) for name in names])


def test_histograms_of_both_sets():
    both = MoleculeEvaluation(judged("CH3OH"), [], judged("CH4", "H2O"), {}, {0: {"strain": 3.0}})
    figure = histograms(both)
    labels = [axes.get_xlabel() for axes in figure.axes]
    lengths = "bond length (Å)"
    assert labels == ["atoms", lengths, "angle (°)", "torsion (°)", "relaxation energy (kcal/mol)"]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert legends[:3] == [["generated", "reference"]] * 3
    assert legends[4] == ["generated"]
    total = sum(patch.get_height() for patch in figure.axes[0].patches)
    assert total == pytest.approx(2)  # of fractions


def test_histograms_of_nothing_valid():
    assert png(histograms(MoleculeEvaluation(judged("CH3"), []))).startswith(b"\x89PNG")
