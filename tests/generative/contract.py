"""What the generators of crystals from a denoising network must fulfil besides the contract."""

from itertools import combinations
from math import log
from typing import ClassVar

import pytest
import torch
from pymatgen.core.structure_matcher import StructureMatcher

from matkit.data.pymatgen import to_pymatgen
from matkit.errors import ConfigError, StructureError
from matkit.interfaces import Condition, Generator
from matkit.structures import Structures
from matkit.testing import GeneratorContract
from matkit.testing.generators import STEPS
from tests.generative.crystals import batch, draw, salt, seeded, titania

# A network that is large enough to learn one crystal.
LARGER = {"width": 32, "layers": 2, "harmonics": 4, "time_channels": 16}


class CrystalContract(GeneratorContract):
    """Species given or generated, conditions, and one crystal learnt.

    Attributes:
        sampling: Steps with which it draws the crystal that it learnt.
    """

    sampling: ClassVar[int]

    @pytest.fixture(params=[False, True], ids=["species given", "species generated"])
    def generator(self, request) -> Generator:
        return self.build(generates_species=request.param, properties={"gap": (1.0, 0.5)})

    def test_species_are_a_term_where_they_are_generated(self, generator):
        terms = generator.loss(self.samples(generator), seeded(3))
        assert ("species" in terms) == generator.generates_species

    def test_it_learns(self):
        generator, losses = self.trained()
        assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
        crystals = self.target(generator)
        made = draw(generator, self.condition(generator, crystals), self.sampling, 1)
        self.assert_matches(made, crystals)

    @staticmethod
    def assert_matches(made: Structures, crystals: Structures) -> None:
        matcher = StructureMatcher(stol=0.5, ltol=0.3, angle_tol=10)
        target = to_pymatgen(crystals.index([0]))[0]
        # The matcher takes minutes on a cell that is far too large.
        ratio = (made.volume / crystals.volume).log().abs()
        near = made.index((ratio < log(2)).nonzero().squeeze(1).tolist())
        found = [matcher.get_rms_dist(item, target) for item in to_pymatgen(near)]
        error = [rms[0] for rms in found if rms is not None]
        assert len(error) > 0.75 * len(made)
        assert sum(error) / len(error) < 0.05
        lengths = made.cell.norm(dim=2)
        assert (lengths / crystals.cell.norm(dim=2) - 1).abs().mean() < 0.05

    def test_guidance(self):
        generator = self.build(properties={"gap": (1.0, 0.5)})
        wanted = batch(salt(), titania())

        def cells(gap: float | None, guidance: float) -> torch.Tensor:
            asked = {} if gap is None else {"gap": torch.full((2,), gap)}
            condition = self.condition(generator, wanted, properties=asked, guidance=guidance)
            return draw(generator, condition, STEPS, 0).cell

        plain = cells(None, 1.0)
        assert torch.equal(cells(2.0, 0.0), plain)
        told = cells(2.0, 1.0)
        assert not torch.allclose(told, plain)
        assert not torch.allclose(told, cells(0.5, 1.0))
        assert torch.allclose(cells(2.0, 1 + 1e-12), told)
        assert not torch.allclose(cells(2.0, 2.0), told)

    def test_each_property_may_be_asked_for_alone(self):
        generator = self.build(properties={"gap": (1.0, 0.5), "density": (4.0, 1.0)})

        def cell(**asked: float) -> torch.Tensor:
            values = {name: torch.tensor([value]) for name, value in asked.items()}
            condition = self.condition(generator, batch(salt()), properties=values)
            return draw(generator, condition, STEPS, 0).cell

        drawn = [cell(), cell(gap=1.0), cell(density=4.0), cell(gap=1.0, density=4.0)]
        assert not any(torch.allclose(a, b) for a, b in combinations(drawn, 2)), "not even a mean"

    def test_species_must_be_given_exactly_where_they_are_not_generated(self):
        given, found = self.build(), self.build(generates_species=True)
        atoms = Condition(n_atoms=torch.tensor([2]))
        formula = Condition(n_atoms=torch.tensor([2]), species=torch.tensor([11, 17]))
        with pytest.raises(ConfigError, match="needs the species of all atoms"):
            draw(given, atoms, STEPS, 0)
        with pytest.raises(ConfigError, match="finds the species itself"):
            draw(found, formula, STEPS, 0)

    def test_impossible_requests(self, monkeypatch):
        generator = self.build(properties={"gap": (1.0, 0.5), "density": (4.0, 1.0)})
        crystal = batch(salt())
        one = torch.ones(1)
        monkeypatch.setattr(generator, "inputs", generator.inputs - {"space_group"})
        for more, message in [
            ({"space_group": torch.tensor([225])}, "cannot keep to a space group"),
            ({"properties": {"charm": one}}, "not trained on charm. It knows: density, gap"),
            ({"properties": {"gap": one, "density": one / 0}}, "Expected numbers for density"),
        ]:
            with pytest.raises(ConfigError, match=message):
                draw(generator, self.condition(generator, crystal, **more), 1, 0)
        with pytest.raises(StructureError, match=r"lack density. They carry: gap"):
            generator.loss(crystal, seeded(0))

    def test_steps_out_of_range(self):
        generator = self.build()
        with pytest.raises(ConfigError, match="Expected .* step"):
            draw(generator, self.condition(generator, batch(salt())), 0, 0)
