"""Predicted Hessians beside those of a data set, entry by entry."""

from importlib import import_module

import torch
from ase.build import molecule

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.evaluate.hessians import hessian_differences
from matkit.models import checkpoint
from matkit.structures import cat
from matkit.train.hessian_targets import with_hessians
from tests.train.hessian_labels import TINY_HIP

NAMES = ("H2O2", "H2O", "O2", "O3")


def potential(settings):
    torch.manual_seed(0)
    name, rest = settings["name"], {key: settings[key] for key in settings if key != "name"}
    return Conservative(checkpoint.build(name, {"species": [1, 8], **rest}).double())


def test_differences_are_those_of_whole_matrices(monkeypatch):
    model, parts = potential(TINY_HIP), [from_ase(molecule(name)) for name in NAMES]
    torch.manual_seed(1)
    labels = [torch.randn(3 * len(part.species), 3 * len(part.species)) for part in parts]
    target = with_hessians(cat(parts), [*labels[:2], None, labels[3]], True)
    monkeypatch.setattr(import_module("matkit.evaluator"), "BATCH_ATOMS", 6)
    found = hessian_differences(model, target)
    assert found.shape == (12, 4, 3, 3)
    for part, label, rows in zip(parts, labels, found.split([4, 3, 2, 3]), strict=True):
        n = len(part.species)
        (matrix,) = model.hessian_blocks(model.featurize(part)).dense()
        wanted = (matrix.detach() - label).view(n, 3, n, 3).transpose(1, 2)
        if n == 2:  # has no label
            assert rows.isnan().all()
        else:
            torch.testing.assert_close(rows[:, :n], wanted, check_dtype=False)
            assert rows[:, n:].isnan().all()


def test_nothing_is_compared_without_label_or_head():
    plain = from_ase(molecule("H2O"))
    assert hessian_differences(potential(TINY_HIP), plain) is None
    labelled = with_hessians(plain, [torch.eye(9)], False)
    assert hessian_differences(potential(TINY_HIP["backbone"]), labelled) is None
