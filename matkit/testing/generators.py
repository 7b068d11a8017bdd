"""What every generator must fulfil; a model's test class inherits it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from matkit.data.ase import from_ase
from matkit.errors import CheckpointError, ConfigError, StructureError, UnknownElementError
from matkit.interfaces import Blueprint, Condition, Generator
from matkit.interfaces.generator import DOMAINS, INPUTS, OUTPUTS
from matkit.models import building, checkpoint
from matkit.structures import Structures, cat
from matkit.testing.systems import batch, bonded

STEPS = 5


def titania() -> Atoms:
    """Two formula units of rutile: six atoms."""
    x = 0.305
    fractional = [[0, 0, 0], [0.5, 0.5, 0.5], [x, x, 0], [-x, -x, 0]]
    fractional += [[0.5 - x, 0.5 + x, 0.5], [0.5 + x, 0.5 - x, 0.5]]
    return Atoms("Ti2O4", scaled_positions=fractional, cell=[4.59, 4.59, 2.96], pbc=True)


# By domain: elements, and structures of one to six atoms that the elements make.
ELEMENTS = {"crystal": [8, 11, 17, 22], "molecule": [1, 6, 7, 8]}
SAMPLES = {
    "crystal": [
        titania(),
        bulk("NaCl", "rocksalt", a=5.64),
        bulk("TiO", "cesiumchloride", a=3.1),
    ],
    "molecule": [molecule("CH3OH"), molecule("NH3"), molecule("H2O")],
}


class GeneratorContract:
    """Declared inputs, batching, seeds, refusals, learning and files of a generator, in float64.

    Attributes:
        name: Name of the generator's module or plug-in.
        hyperparameters: Arguments of a tiny network, besides its species and the size of its
            largest structure.
        training: Steps, learning rate and further arguments with which it learns one structure.
    """

    name: ClassVar[str]
    hyperparameters: ClassVar[dict[str, Any]]
    training: ClassVar[tuple[int, float, dict[str, Any]]]

    @classmethod
    def build(cls, **changes: Any) -> Generator:
        """Return a tiny network, always the same."""
        torch.manual_seed(0)
        domain = building.model_class(cls.name, Generator).domain
        largest = max(len(atoms) for atoms in SAMPLES[domain])
        given = {"species": ELEMENTS[domain], "max_atoms": largest, **cls.hyperparameters}
        return checkpoint.build(cls.name, given | changes, Generator).double()

    @pytest.fixture
    def generator(self) -> Generator:
        """The network."""
        return self.build()

    @staticmethod
    def samples(generator: Generator) -> Structures:
        """Return three structures of the generator's domain, with its properties."""
        make = bonded if generator.domain == "molecule" else batch
        structures = make(*SAMPLES[generator.domain])
        values = torch.linspace(1.0, 2.0, len(structures))
        return structures.replace(system=dict.fromkeys(generator.properties, values))

    @staticmethod
    def condition(generator: Generator, structures: Structures, **more: Any) -> Condition:
        """Return a condition with what the generator needs, taken from structures."""
        needs = generator.required
        return Condition(
            count=len(structures),
            n_atoms=structures.n_atoms if "n_atoms" in needs else None,
            species=structures.species if "species" in needs else None,
            **more,
        )

    @staticmethod
    def draw(
        generator: Generator, condition: Condition, first: int, steps: int = STEPS
    ) -> Structures | Blueprint:
        """Draw structures whose seeds are consecutive numbers."""
        return generator.sample(condition, steps, torch.arange(first, first + len(condition)))

    @staticmethod
    def assert_close(a: Structures | Blueprint, b: Structures | Blueprint) -> None:
        """Compare two batches, atoms modulo the cell."""
        assert torch.equal(a.n_atoms, b.n_atoms)
        assert torch.equal(a.species, b.species)
        if not (isinstance(a, Structures) and isinstance(b, Structures)):
            return
        assert torch.allclose(a.cell, b.cell, rtol=1e-8, atol=1e-8)
        shift = a.positions - b.positions
        if a.pbc.all():
            shift = torch.linalg.solve(a.cell[a.batch].mT, shift.unsqueeze(2))
            shift = shift - shift.round()  # an atom at 0 may come back at 1
        assert shift.abs().max() < 1e-7

    def test_what_it_takes_and_makes_is_declared(self, generator: Generator) -> None:
        assert generator.domain in DOMAINS
        assert generator.outputs in OUTPUTS
        assert generator.required <= generator.inputs <= INPUTS.keys()
        made = self.draw(generator, self.condition(generator, self.samples(generator)), 0)
        assert isinstance(made, Structures if generator.outputs == "structures" else Blueprint)

    def test_loss_is_per_structure_and_independent_of_the_batch(self, generator: Generator) -> None:
        structures = self.samples(generator)
        rng = seeded(3)
        singles = [generator.loss(part, rng) for part in structures.split()]
        together = generator.loss(structures, seeded(3))
        for name, term in together.items():
            assert term.shape == (len(structures),)
            alone = torch.cat([single[name] for single in singles])
            assert torch.allclose(term, alone, rtol=1e-9, atol=0), name

    def test_same_seed_same_structures_in_any_batch(self, generator: Generator) -> None:
        wanted = self.samples(generator)
        everything = self.draw(generator, self.condition(generator, wanted), 7)
        self.assert_close(everything, self.draw(generator, self.condition(generator, wanted), 7))
        parts = [
            self.draw(generator, self.condition(generator, wanted.index(part)), 7 + part[0])
            for part in ([0, 1], [2])
        ]
        self.assert_close(everything, cat(parts))
        other = self.draw(generator, self.condition(generator, wanted), 17)
        with pytest.raises(AssertionError):
            self.assert_close(everything, other)

    def test_structures_are_as_asked_for(self, generator: Generator) -> None:
        wanted = self.samples(generator)
        made = self.draw(generator, self.condition(generator, wanted), 0)
        if "n_atoms" in generator.required:
            assert torch.equal(made.n_atoms, wanted.n_atoms)
        if "species" in generator.required:
            assert torch.equal(made.species, wanted.species)
        assert set(made.species.tolist()) <= set(generator.species)
        if isinstance(made, Structures):
            assert made.positions.dtype == made.cell.dtype == torch.float64
            assert bool(made.pbc.all()) == (generator.domain == "crystal")
            if generator.domain == "crystal":
                assert (torch.linalg.det(made.cell) > 0).all()

    def test_single_precision_works_and_is_close(self, generator: Generator) -> None:
        single, wanted = copy.deepcopy(generator).float(), self.samples(generator)
        a, b = (model.loss(wanted, seeded(2)) for model in (generator, single))
        for name in a:
            assert b[name].dtype == torch.float32
            assert torch.allclose(a[name].float(), b[name], rtol=1e-3, atol=1e-5), name
        made = self.draw(single, self.condition(single, wanted), 0)
        assert not isinstance(made, Structures) or bool(torch.isfinite(made.positions).all())

    def test_gradient_reaches_all_parameters(self, generator: Generator) -> None:
        structures = self.samples(generator).index([0, 1] * 8)
        torch.stack(
            [t.sum() for t in generator.loss(structures, seeded(0)).values()]
        ).sum().backward()
        missing = [n for n, p in generator.named_parameters() if p.grad is None or not p.grad.any()]
        assert not missing

    def test_it_learns(self) -> None:
        generator, losses = self.trained()
        assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
        made = self.draw(generator, self.condition(generator, self.target(generator)), 1)
        if isinstance(made, Structures) and generator.domain == "crystal":
            ratio = made.volume.mean() / self.target(generator).volume.mean()
            assert 0.7 < ratio < 1.4

    @classmethod
    def target(cls, generator: Generator) -> Structures:
        """Return many copies of the smallest structure."""
        return cls.samples(generator).split()[-1].index([0] * 64)

    @classmethod
    def trained(cls) -> tuple[Generator, list[float]]:
        """Return a generator that has learnt the smallest structure, and its losses."""
        count, rate, more = cls.training
        generator = cls.build(**more).float()
        structures, rng = cls.target(generator), seeded(0)
        optimizer = torch.optim.Adam(generator.parameters(), rate)
        decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, count)
        losses = []
        for _ in range(count):
            optimizer.zero_grad()
            terms = [term.mean() for term in generator.loss(structures, rng).values()]
            loss = torch.stack(terms).sum()
            loss.backward()
            optimizer.step()
            decay.step()
            losses.append(float(loss.detach()))
        return generator, losses

    def test_larger_than_trained_for(self, generator: Generator) -> None:
        few = self.build(max_atoms=2)
        largest = self.samples(generator).index([0])
        count = int(largest.n_atoms)
        with pytest.raises(StructureError, match=f"at most 2 atoms, got a .* of {count}"):
            few.loss(largest, seeded(0))
        if "n_atoms" in generator.inputs:
            asked = replace(self.condition(few, largest), n_atoms=largest.n_atoms)
            with pytest.raises(ConfigError, match=f"up to 2 atoms, asked for {count}"):
                self.draw(few, asked, 0)

    def test_unknown_element(self, generator: Generator) -> None:
        samples = self.samples(generator)
        left_out = int(samples.index([0]).species[0])
        known = [z for z in generator.species if z != left_out]
        lacking = self.build(species=known)
        with pytest.raises(UnknownElementError, match="does not know"):
            lacking.loss(samples, seeded(0))
        if "species" in generator.required:
            with pytest.raises(UnknownElementError, match="does not know"):
                self.draw(lacking, self.condition(lacking, samples), 0)

    def test_what_it_does_not_take_is_refused(self, generator: Generator) -> None:
        wanted = self.samples(generator)
        groups = torch.ones(len(wanted), dtype=torch.long)
        impossible: dict[str, Any] = {
            "space_group": {"space_group": groups},
            "scaffold": {"scaffold": wanted},
        }
        for name, more in impossible.items():
            if name not in generator.inputs:
                with pytest.raises(ConfigError, match="cannot keep to"):
                    self.draw(generator, self.condition(generator, wanted, **more), 0)
        charm = {"charm": torch.ones(len(wanted))}
        with pytest.raises(ConfigError, match="not trained on charm"):
            self.draw(generator, self.condition(generator, wanted, properties=charm), 0)
        for name in generator.required:
            sizes = None if name == "n_atoms" else wanted.n_atoms
            with pytest.raises(ConfigError, match="The generator needs"):
                self.draw(generator, Condition(count=len(wanted), n_atoms=sizes), 0)

    def test_another_domain_is_refused(self, generator: Generator) -> None:
        other = next(domain for domain in DOMAINS if domain != generator.domain)
        atoms = SAMPLES[other][-1]
        network = self.build(species=sorted({*generator.species, *atoms.numbers.tolist()}))
        structures = from_ase(atoms)
        values = dict.fromkeys(generator.properties, torch.ones(1))
        with pytest.raises(StructureError, match=f"Expected {generator.domain}s"):
            network.loss(structures.replace(system=values), seeded(0))

    def test_a_file_gives_the_same_structures(self, generator: Generator, tmp_path: Path) -> None:
        path = checkpoint.save(generator, tmp_path / "model.safetensors")
        loaded, metadata = checkpoint.load(path, Generator)
        assert metadata["max_atoms"] == generator.max_atoms
        state, same = generator.state_dict(), loaded.state_dict()
        assert all(torch.equal(value, same[name]) for name, value in state.items())
        condition = self.condition(generator, self.samples(generator))
        self.assert_close(self.draw(generator, condition, 0), self.draw(loaded, condition, 0))
        with pytest.raises(CheckpointError, match="holds a generator"):
            checkpoint.load(path)


def seeded(seed: int) -> torch.Generator:
    """Return a source of random numbers."""
    return torch.Generator().manual_seed(seed)
