from typing import ClassVar

import pytest
import torch
from e3nn.nn import Gate as E3nnGate

from matkit.errors import ConfigError
from matkit.models import checkpoint
from matkit.testing.potentials import PotentialContract

TINY = {
    "species": [1, 8, 11, 17],
    "irreps": ["8x0e", "8x0e+4x1o+2x2e", "8x0e+4x1o+2x2e", "8x0e"],
    "lmax": 2,
    "cutoff": 3.6,
    "radial_hidden": [8],
    "neighbor_norm": 3.0,
}
SEVENNET = TINY | {
    "irreps": ["8x0e", "8x0e+4x1e+2x2e", "8x0e+4x1e+2x2e", "8x0e"],
    "natural_parity": False,
    "self_connection": "linear",
    "envelope": "xplor",
    "xplor_onset": 3.0,
}


class TestNequIP(PotentialContract):
    name = "nequip"
    hyperparameters: ClassVar = TINY
    claims: ClassVar = {"rotation", "reflection"}


class TestBothParities(PotentialContract):
    name = "nequip"
    hyperparameters: ClassVar = TINY | {
        "irreps": ["8x0e", "8x0e+2x0o+4x1o+3x1e+2x2e", "8x0e+2x0o+4x1o+3x1e+2x2e", "8x0e"]
    }
    claims: ClassVar = {"rotation", "reflection"}
    # Pseudovectors appear in the second layer; the third could only make pseudoscalars of them.
    unused_parameters: ClassVar = {
        "network.interactions.1.linear_out.weights.2",
        "network.interactions.2.linear_in.weights.2",
    }


class TestSevenNetSwitches(PotentialContract):
    name = "nequip"
    hyperparameters: ClassVar = SEVENNET
    claims: ClassVar = {"rotation"}


class TestCore(PotentialContract):
    """With atoms of the contract's structures in each other's core."""

    name = "nequip"
    hyperparameters: ClassVar = TINY | {"core": 1.0}
    claims: ClassVar = {"rotation", "reflection"}
    step: ClassVar = 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": [1, 1]}, "distinct atomic numbers"),
        ({"species": []}, "distinct atomic numbers"),
        ({"cutoff": -1.0}, "positive `cutoff`"),
        ({"envelope": "xplo"}, "Did you mean 'xplor'"),
        ({"self_connection": "lin"}, "Did you mean 'linear'"),
        ({"irreps": ["8x0e", "8x0"]}, "irreps such as"),
        ({"cutof": 3.0}, "cutof"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        checkpoint.build("nequip", TINY | change)


def test_parameter_count_of_sevennet_0():
    """842,440 trainable parameters, as its authors count them."""
    hidden = "128x0e+64x1e+32x2e"
    network = checkpoint.build(
        "nequip",
        {
            "species": list(range(1, 90)),
            "irreps": ["128x0e", *[hidden] * 4, "128x0e"],
            "natural_parity": False,
            "self_connection": "linear",
            "readout_hidden": 64,
        },
    )
    assert sum(p.numel() for p in network.parameters()) == 842_440


def test_gate_equals_e3nn():
    from matkit.nn.equivariant import Gate
    from matkit.nn.irreps import parse_irreps

    torch.manual_seed(0)
    ours = Gate(parse_irreps("5x0e+3x0o+2x1o+4x2e"))
    silu, tanh = torch.nn.functional.silu, torch.tanh
    theirs = E3nnGate("5x0e+3x0o", [silu, tanh], "2x0e+4x0e", [silu, silu], "2x1o+4x2e")
    blocks = [torch.randn(7, i.dim, i.channels, dtype=torch.float64) for i in ours.irreps_in]
    # e3nn puts pseudoscalars first and each irrep as [channels, m].
    even, odd, *rest = blocks
    flat = [odd[:, 0], even[:, 0], *(x.mT.reshape(7, -1) for x in rest)]
    assert str(theirs.irreps_in) == "3x0o+11x0e+2x1o+4x2e"
    expected = theirs(torch.cat(flat, dim=1))
    got = torch.cat([x.mT.reshape(7, -1) for x in ours(tuple(blocks))], dim=1)
    assert torch.allclose(got, expected, atol=1e-7)
