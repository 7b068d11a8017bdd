"""What every generator must fulfil; a model's test class inherits it."""

from math import log
from typing import Any, ClassVar

import pytest
import torch
from pymatgen.core.structure_matcher import StructureMatcher

from matkit.data.pymatgen import to_pymatgen
from matkit.errors import ConfigError, StructureError, UnknownElementError
from matkit.interfaces import Condition, Generator
from matkit.models import checkpoint
from matkit.structures import Structures, cat
from tests.generative.crystals import ELEMENTS, batch, draw, monoxide, salt, seeded, titania
from tests.systems import water

STEPS = 5


class GeneratorContract:
    """Symmetries, batching, seeds, refusals and learning, in float64.

    Attributes:
        name: Name of the generator's module.
        hyperparameters: Arguments of a tiny network.
        training: Steps, learning rate and further arguments with which it learns one crystal.
        sampling: Steps with which it then draws the crystal.
    """

    name: ClassVar[str]
    hyperparameters: ClassVar[dict[str, Any]]
    training: ClassVar[tuple[int, float, dict[str, Any]]]
    sampling: ClassVar[int]

    def build(self, **changes: Any) -> Generator:
        torch.manual_seed(0)
        hyperparameters = {"species": ELEMENTS, "max_atoms": 8, **self.hyperparameters, **changes}
        return checkpoint.build_generator(self.name, hyperparameters).double()

    @pytest.fixture(params=[False, True], ids=["species given", "species generated"])
    def generator(self, request) -> Generator:
        return self.build(generates_species=request.param)

    @staticmethod
    def condition(generator: Generator, structures: Structures, **more: Any) -> Condition:
        species = None if generator.generates_species else structures.species
        return Condition(n_atoms=structures.n_atoms, species=species, **more)

    @staticmethod
    def assert_close(a: Structures, b: Structures) -> None:
        assert torch.equal(a.n_atoms, b.n_atoms)
        assert torch.equal(a.species, b.species)
        assert torch.allclose(a.cell, b.cell, rtol=1e-8, atol=1e-8)
        cell = a.cell[a.batch]
        shift = torch.linalg.solve(cell.mT, (a.positions - b.positions).unsqueeze(2))
        assert (shift - shift.round()).abs().max() < 1e-7  # an atom at 0 may come back at 1

    def test_loss_is_per_crystal_and_independent_of_the_batch(self, generator):
        parts = [batch(titania()), batch(salt()), batch(monoxide())]
        rng = seeded(3)
        singles = [generator.loss(part, rng) for part in parts]
        together = generator.loss(cat(parts), seeded(3))
        assert ("species" in together) == generator.generates_species
        for name, term in together.items():
            alone = torch.cat([single[name] for single in singles])
            assert torch.allclose(term, alone, rtol=1e-9, atol=0), name

    def test_same_seed_same_crystals_in_any_batch(self, generator):
        wanted = batch(titania(), monoxide(), salt())
        everything = draw(generator, self.condition(generator, wanted), STEPS, 7)
        again = draw(generator, self.condition(generator, wanted), STEPS, 7)
        assert torch.equal(everything.positions, again.positions)
        parts = [
            draw(generator, self.condition(generator, wanted.index(part)), STEPS, 7 + part[0])
            for part in ([0, 1], [2])
        ]
        self.assert_close(everything, cat(parts))
        other = draw(generator, self.condition(generator, wanted), STEPS, 17)
        assert not torch.allclose(everything.cell, other.cell)

    def test_crystals_are_as_asked_for(self, generator):
        wanted = batch(titania(), monoxide())
        made = draw(generator, self.condition(generator, wanted), STEPS, 0)
        assert torch.equal(made.n_atoms, wanted.n_atoms)
        assert set(made.species.tolist()) <= set(ELEMENTS)
        if not generator.generates_species:
            assert torch.equal(made.species, wanted.species)
        assert (torch.linalg.det(made.cell) > 0).all()
        assert made.pbc.all()
        assert made.positions.dtype == made.cell.dtype == torch.float64

    def test_single_precision_works_and_is_close(self, generator):
        single = self.build(generates_species=generator.generates_species).float()
        wanted = batch(titania(), monoxide())
        a, b = (model.loss(wanted, seeded(2)) for model in (generator, single))
        for name in a:
            assert b[name].dtype == torch.float32
            assert torch.allclose(a[name].float(), b[name], rtol=1e-3, atol=1e-5)
        made = draw(single, self.condition(single, wanted), STEPS, 0)
        assert torch.isfinite(made.positions).all()

    def test_gradient_reaches_all_parameters(self):
        generator = self.build(generates_species=True, properties={"gap": (1.0, 0.5)})
        crystals = batch(titania(), salt()).index([0, 1] * 8)
        sum(term.sum() for term in generator.loss(crystals, seeded(0)).values()).backward()
        missing = [n for n, p in generator.named_parameters() if p.grad is None or not p.grad.any()]
        assert not missing

    def test_one_crystal_is_learnt_and_drawn(self):
        count, rate, more = self.training
        network = {"width": 32, "layers": 2, "harmonics": 4, "time_channels": 16}
        generator = self.build(**network, **more).float()
        crystals, rng = batch(monoxide()).index([0] * 64), seeded(0)
        optimizer = torch.optim.Adam(generator.parameters(), rate)
        decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, count)
        losses = []
        for _ in range(count):
            optimizer.zero_grad()
            loss = sum(term.mean() for term in generator.loss(crystals, rng).values())
            loss.backward()
            optimizer.step()
            decay.step()
            losses.append(float(loss.detach()))
        assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
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

    def test_more_atoms_than_trained_for(self):
        generator = self.build(max_atoms=4)
        with pytest.raises(ConfigError, match="up to 4 atoms, asked for 6"):
            draw(generator, self.condition(generator, batch(titania())), STEPS, 0)
        with pytest.raises(StructureError, match="at most 4 atoms, got a crystal of 6"):
            generator.loss(batch(titania()), seeded(0))

    def test_unknown_element(self):
        generator = self.build(species=[8, 11, 17])
        with pytest.raises(UnknownElementError, match="does not know Ti in structure"):
            draw(generator, self.condition(generator, batch(salt(), titania())), 1, 0)
        with pytest.raises(UnknownElementError, match="does not know Ti"):
            generator.loss(batch(titania()), seeded(0))

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
        monkeypatch.setattr(type(generator), "space_groups", False)
        for more, message in [
            ({"space_group": torch.tensor([225])}, "cannot keep to a space group"),
            ({"properties": {"charm": one}}, "not trained on charm. It knows: density, gap"),
            ({"properties": {"gap": one}}, "give density too, or none"),
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

    def test_molecules_are_refused(self):
        with pytest.raises(StructureError, match="periodic along three"):
            self.build(species=[1, 8]).loss(batch(water()), seeded(0))

    def test_a_file_gives_the_same_crystals(self, tmp_path):
        generator = self.build()
        path = checkpoint.save(generator, tmp_path / "model.safetensors")
        loaded, metadata = checkpoint.load_generator(path)
        assert metadata["max_atoms"] == generator.max_atoms
        condition = self.condition(generator, batch(salt()))
        a, b = (draw(model, condition, STEPS, 0) for model in (generator, loaded))
        state, same = generator.state_dict(), loaded.state_dict()
        assert all(torch.equal(value, same[name]) for name, value in state.items())
        # Matrix products may round otherwise where numbers lie elsewhere in memory.
        torch.testing.assert_close(a.positions, b.positions, rtol=0, atol=1e-10)
        with pytest.raises(checkpoint.CheckpointError, match="holds a generator"):
            checkpoint.load(path)
