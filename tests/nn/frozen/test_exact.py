"""The double-precision copy that inference is compared with."""

import torch

from matkit.models import checkpoint
from matkit.nn.frozen.exact import exact_copy
from tests.potentials.test_mace import TINY


def test_the_copy_has_the_weights_of_some_species_and_learns_nothing():
    network = checkpoint.build("mace", TINY).float()
    copied = exact_copy(network, [2, 0])
    own, others = dict(network.named_parameters()), dict(copied.named_parameters())
    assert own.keys() == others.keys()
    by_species = [name for name, weight in own.items() if weight.ndim == 3]
    assert by_species
    for name, weight in others.items():
        rows = [2, 0] if name in by_species else slice(None)
        assert torch.equal(weight[rows], own[name].detach().double()[rows])
        assert weight.dtype == torch.float64
        assert not weight.requires_grad
    assert all(weight.requires_grad for weight in own.values())
