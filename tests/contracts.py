"""What every potential must fulfil; a model's test class inherits it and names its claims."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.models import checkpoint
from matkit.structures import Structures, cat
from tests.systems import SYSTEMS, crystal, random_rotation, slab, water

# Largest deviation in eV and eV/Å of quantities of order one.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}


class PotentialContract:
    """Symmetries, derivatives, batching and files of a conservative potential in float64.

    Attributes:
        name: Name of the potential's module.
        hyperparameters: Arguments of a tiny network that knows H, O, Na and Cl.
        claims: Which of `rotation` and `reflection` the model promises; the others are measured
            and printed.
        unused_parameters: Parameters that cannot influence the energy.
        step: Displacement in Å, or strain, of central differences; where the energy is steep, a
            shorter one.
    """

    name: ClassVar[str]
    hyperparameters: ClassVar[dict[str, Any]]
    claims: ClassVar[set[str]]
    unused_parameters: ClassVar[set[str]] = set()
    step: ClassVar[float] = 1e-4

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls) -> Conservative:
        torch.manual_seed(0)
        network = checkpoint.build(cls.name, cls.hyperparameters)
        return Conservative(network).double().eval()

    @staticmethod
    def predict(potential: Conservative, structures: Structures) -> dict[str, torch.Tensor]:
        return potential(potential.featurize(structures))

    def deviation(self, potential: Conservative, matrix: torch.Tensor) -> float:
        """Largest change of energy and of forces turned back, over all systems."""
        worst = 0.0
        for make in SYSTEMS.values():
            before = from_ase(make())
            after = before.replace(
                positions=before.positions @ matrix.T, cell=before.cell @ matrix.T
            )
            a, b = self.predict(potential, before), self.predict(potential, after)
            worst = max(worst, float((a["energy"] - b["energy"]).abs().max()))
            worst = max(worst, float((a["forces"] @ matrix.T - b["forces"]).abs().max()))
            if torch.isfinite(a["stress"]).all():
                turned = matrix @ a["stress"] @ matrix.T
                worst = max(worst, float((turned - b["stress"]).abs().max()))
        return worst

    @pytest.mark.parametrize("symmetry", ["rotation", "reflection"])
    def test_rotation_and_reflection(self, potential, symmetry):
        matrix = random_rotation() * (1 if symmetry == "rotation" else -1)
        deviation = self.deviation(potential, matrix)
        if symmetry in self.claims:
            assert deviation < TOLERANCE[torch.float64]
        else:
            print(f"{self.name}: not claimed {symmetry} deviates by {deviation:.1e}")

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_translation(self, potential, system):
        before = from_ase(SYSTEMS[system]())
        after = before.replace(positions=before.positions + torch.tensor([0.3, -7.1, 11.0]))
        self.assert_same(self.predict(potential, before), self.predict(potential, after))

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_permutation(self, potential, system):
        atoms = SYSTEMS[system]()
        order = np.random.default_rng(0).permutation(len(atoms))
        a = self.predict(potential, from_ase(atoms))
        b = self.predict(potential, from_ase(atoms[order]))
        a = a | {"forces": a["forces"][order], "atom_energy": a["atom_energy"][order]}
        self.assert_same(a, b)

    def test_supercell_is_extensive(self, potential):
        one = self.predict(potential, from_ase(crystal()))
        many = self.predict(potential, from_ase(crystal().repeat((2, 1, 2))))
        assert torch.allclose(4 * one["energy"], many["energy"], rtol=0, atol=1e-9)
        assert torch.allclose(one["stress"], many["stress"], rtol=0, atol=1e-9)
        assert torch.allclose(one["forces"].repeat(4, 1), many["forces"], rtol=0, atol=1e-9)

    def test_wrapping_atoms_changes_nothing(self, potential):
        atoms = crystal()
        moved = atoms.copy()
        moved.positions += np.array([[1, -2, 0]] * len(atoms)) @ atoms.cell.array
        a = self.predict(potential, from_ase(atoms))
        self.assert_same(a, self.predict(potential, from_ase(moved)))

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_forces_are_finite_differences(self, potential, system):
        structures = from_ase(SYSTEMS[system]())
        forces = self.predict(potential, structures)["forces"]
        numerical = torch.zeros_like(forces)
        for atom in range(len(forces)):
            for axis in range(3):
                step = torch.zeros_like(forces)
                step[atom, axis] = self.step
                plus, minus = (
                    structures.replace(positions=structures.positions + sign * step)
                    for sign in (1, -1)
                )
                numerical[atom, axis] = -self.slope(potential, plus, minus)
        assert torch.allclose(forces, numerical, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("system", ["crystal", "slab", "tiny cell"])
    def test_stress_is_finite_differences(self, potential, system):
        structures = from_ase(SYSTEMS[system]())
        stress = self.predict(potential, structures)["stress"][0]
        numerical = torch.zeros_like(stress)
        for a in range(3):
            for b in range(3):
                strain = torch.zeros(3, 3, dtype=torch.float64)
                strain[a, b] += self.step / 2
                strain[b, a] += self.step / 2
                plus, minus = (
                    structures.replace(
                        positions=structures.positions + sign * structures.positions @ strain,
                        cell=structures.cell + sign * structures.cell @ strain,
                    )
                    for sign in (1, -1)
                )
                numerical[a, b] = self.slope(potential, plus, minus) / structures.volume[0]
        assert torch.allclose(stress, numerical, rtol=1e-6, atol=1e-7)

    def slope(self, potential, plus: Structures, minus: Structures) -> torch.Tensor:
        energy = [self.predict(potential, s)["energy"][0] for s in (plus, minus)]
        return (energy[0] - energy[1]) / (2 * self.step)

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_forces_add_up_to_zero(self, potential, system):
        forces = self.predict(potential, from_ase(SYSTEMS[system]()))["forces"]
        assert forces.sum(0).abs().max() < TOLERANCE[torch.float64]

    def test_smooth_at_the_cutoff(self, potential):
        def at(distance: float) -> dict[str, torch.Tensor]:
            return self.predict(potential, from_ase(Atoms("ONa", [[0, 0, 0], [distance, 0, 0]])))

        rc = potential.cutoff
        apart = at(rc + 1.0)["energy"]
        near = at(rc - 0.5)["forces"].abs().max()
        assert near > 0
        for distance in (rc, rc + 1e-9):
            assert torch.equal(at(distance)["energy"], apart)
            assert not at(distance)["forces"].any()
        assert (at(rc - 1e-4)["energy"] - apart).abs() < 1e-5 * near
        assert at(rc - 1e-4)["forces"].abs().max() < 1e-2 * near

    def test_batch_equals_singles(self, potential):
        parts = [from_ase(make()) for make in SYSTEMS.values()]
        together = self.predict(potential, cat(parts))
        apart = [self.predict(potential, part) for part in parts]
        for key in ("energy", "forces", "stress", "atom_energy"):
            singles = torch.cat([result[key] for result in apart])
            same = torch.allclose(together[key], singles, rtol=0, atol=1e-10, equal_nan=True)
            assert same, key

    def test_no_gradient_across_systems(self, potential):
        structures = cat([from_ase(water()), from_ase(crystal())])
        positions = structures.positions.clone().requires_grad_()
        graph = potential.featurize(structures).replace(positions=positions)
        energy = potential(graph, properties=("energy",), differentiable=True)["energy"]
        (gradient,) = torch.autograd.grad(energy[0], positions)
        assert gradient[:3].abs().max() > 0
        assert not gradient[3:].any()

    @pytest.mark.parametrize("symbol", ["H", "O", "Na", "Cl"])
    def test_isolated_atom(self, potential, symbol):
        alone = self.predict(potential, from_ase(Atoms(symbol)))
        assert torch.isfinite(alone["energy"]).all()
        assert not alone["forces"].any()
        boxed = self.predict(potential, from_ase(Atoms(symbol, cell=[30] * 3, pbc=True)))
        assert torch.allclose(alone["energy"], boxed["energy"])
        assert not boxed["stress"].any()

    def test_far_fragments_add_up(self, potential):
        atoms, far = water(), water()
        far.positions += 50.0
        pair = self.predict(potential, from_ase(atoms + far))["energy"]
        assert torch.allclose(pair, 2 * self.predict(potential, from_ase(atoms))["energy"])

    def test_partial_periodicity(self, potential):
        """A slab gives the stress of its cell; without a third vector there is none."""
        atoms = slab()
        assert torch.isfinite(self.predict(potential, from_ase(atoms))["stress"]).all()
        atoms.cell[2] = 0
        open_slab = self.predict(potential, from_ase(atoms))
        assert open_slab["stress"].isnan().all()
        full = self.predict(potential, from_ase(slab()))
        assert torch.allclose(open_slab["energy"], full["energy"], rtol=0, atol=1e-10)
        assert self.predict(potential, from_ase(water()))["stress"].isnan().all()

    def test_saved_model_is_the_same_to_the_bit(self, potential, tmp_path):
        path = checkpoint.save(potential, tmp_path / "model.safetensors")
        loaded = Conservative(checkpoint.load(path)[0]).eval()
        assert loaded.dtype == torch.float64
        structures = from_ase(crystal())
        before, after = self.predict(potential, structures), self.predict(loaded, structures)
        assert all(torch.equal(before[key], after[key]) for key in before)

    def test_calculator_equals_direct_call(self, potential):
        atoms = crystal()
        atoms.calc = MatkitCalculator(potential, device="cpu")
        direct = self.predict(potential, from_ase(atoms))
        assert atoms.get_potential_energy() == pytest.approx(float(direct["energy"]), abs=1e-10)
        assert atoms.get_forces() == pytest.approx(direct["forces"].numpy(), abs=1e-10)
        voigt = atoms.get_stress(voigt=False)
        assert voigt == pytest.approx(direct["stress"][0].numpy(), abs=1e-10)

    def test_single_precision_is_close(self, potential):
        structures = from_ase(crystal())
        double = self.predict(potential, structures)
        single = Conservative(checkpoint.build(self.name, self.hyperparameters)).eval()
        single.load_state_dict(potential.state_dict())
        rough = self.predict(single.float(), structures)
        assert rough["forces"].dtype == torch.float64  # geometry and sums stay in double
        scale = double["forces"].abs().max()
        assert (double["forces"] - rough["forces"]).abs().max() < TOLERANCE[torch.float32] * scale

    def test_training_gradients_reach_every_parameter(self, potential):
        network = checkpoint.build(self.name, self.hyperparameters)
        model = Conservative(network).double().train()
        result = model(model.featurize(cat([from_ase(water()), from_ase(crystal())])))
        loss = result["energy"].square().sum() + result["forces"].square().sum()
        loss.backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert set(missing) == self.unused_parameters

    @staticmethod
    def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
        for key in ("energy", "atom_energy", "forces", "stress"):
            assert torch.allclose(a[key], b[key], rtol=0, atol=1e-9, equal_nan=True), key
