"""What every potential must fulfil; a model's test class inherits it and names its claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import ForceField, check_outputs, force_field
from matkit.interfaces import Potential
from matkit.interfaces.properties import check_properties
from matkit.models import checkpoint
from matkit.nn.references import references_of
from matkit.structures import Structures, cat
from matkit.testing.systems import SYSTEMS, crystal, random_rotation, slab, water

# Largest deviation in eV and eV/Å of quantities of order one.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
# Elements of the systems, with reference energies and units that show where they are left out.
SPECIES = [1, 8, 11, 17]
SHIFT, SCALE = [-1.0, -4.0, -0.5, -2.0], [1.0, 1.5, 0.7, 1.2]


class PotentialContract:
    """Declared outputs, symmetries, derivatives, batching and files of a potential, in float64.

    What belongs to derivatives of the energy is left out for a network with forces of its own.

    Attributes:
        name: Name of the potential's module or plug-in.
        hyperparameters: Arguments of a tiny network, besides its species, which are H, O, Na and
            Cl.
        claims: Which of `rotation` and `reflection` the model promises; the others are measured
            and printed.
        unused_parameters: Parameters that cannot influence energy and forces.
        step: Displacement in Å, or strain, of central differences; where the energy is steep, a
            shorter one.
    """

    name: ClassVar[str]
    hyperparameters: ClassVar[dict[str, Any]]
    claims: ClassVar[set[str]]
    unused_parameters: ClassVar[set[str]] = set()
    step: ClassVar[float] = 1e-4

    @classmethod
    def build(cls) -> Potential:
        """Return the network, with reference energies that are not zero."""
        network = checkpoint.build(cls.name, {"species": SPECIES, **cls.hyperparameters})
        references = references_of(network)
        if references is not None:
            scale = None if "forces" in network.provides else SCALE
            references.set(scale=scale, shift=SHIFT)
        return network

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls) -> ForceField:
        """The network with its forces."""
        torch.manual_seed(0)
        return force_field(cls.build()).double().eval()

    @pytest.fixture
    def derived(self, potential: ForceField) -> ForceField:
        """The same, if its forces are derivatives of its energy."""
        if not potential.conservative:
            pytest.skip("forces are predicted, not derived")
        return potential

    @staticmethod
    def predict(potential: ForceField, structures: Structures) -> dict[str, torch.Tensor]:
        return potential(potential.featurize(structures))

    def deviation(self, potential: ForceField, matrix: torch.Tensor) -> float:
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

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_outputs_are_as_declared(self, potential: ForceField, system: str) -> None:
        network = potential.network
        check_outputs(network, self.name)
        graph = network.featurize(from_ase(SYSTEMS[system]()))
        with torch.no_grad():
            check_properties(network(graph), network.provides, graph, self.name)

    @pytest.mark.parametrize("symmetry", ["rotation", "reflection"])
    def test_rotation_and_reflection(self, potential: ForceField, symmetry: str) -> None:
        matrix = random_rotation() * (1 if symmetry == "rotation" else -1)
        deviation = self.deviation(potential, matrix)
        if symmetry in self.claims:
            assert deviation < TOLERANCE[torch.float64]
        else:
            print(f"{self.name}: not claimed {symmetry} deviates by {deviation:.1e}")

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_translation(self, potential: ForceField, system: str) -> None:
        before = from_ase(SYSTEMS[system]())
        after = before.replace(positions=before.positions + torch.tensor([0.3, -7.1, 11.0]))
        self.assert_same(self.predict(potential, before), self.predict(potential, after))

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_permutation(self, potential: ForceField, system: str) -> None:
        atoms = SYSTEMS[system]()
        order = np.random.default_rng(0).permutation(len(atoms))
        a = self.predict(potential, from_ase(atoms))
        b = self.predict(potential, from_ase(atoms[order]))
        a = a | {"forces": a["forces"][order], "atom_energy": a["atom_energy"][order]}
        self.assert_same(a, b)

    def test_supercell_is_extensive(self, potential: ForceField) -> None:
        one = self.predict(potential, from_ase(crystal()))
        many = self.predict(potential, from_ase(crystal().repeat((2, 1, 2))))
        assert torch.allclose(4 * one["energy"], many["energy"], rtol=0, atol=1e-9)
        assert torch.allclose(one["stress"], many["stress"], rtol=0, atol=1e-9, equal_nan=True)
        assert torch.allclose(one["forces"].repeat(4, 1), many["forces"], rtol=0, atol=1e-9)

    def test_wrapping_atoms_changes_nothing(self, potential: ForceField) -> None:
        atoms = crystal()
        moved = atoms.copy()
        moved.positions += np.array([[1, -2, 0]] * len(atoms)) @ atoms.cell.array
        a = self.predict(potential, from_ase(atoms))
        self.assert_same(a, self.predict(potential, from_ase(moved)))

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_forces_are_finite_differences(self, derived: ForceField, system: str) -> None:
        structures = from_ase(SYSTEMS[system]())
        forces = self.predict(derived, structures)["forces"]
        numerical = torch.zeros_like(forces)
        for atom in range(len(forces)):
            for axis in range(3):
                step = torch.zeros_like(forces)
                step[atom, axis] = self.step
                plus, minus = (
                    structures.replace(positions=structures.positions + sign * step)
                    for sign in (1, -1)
                )
                numerical[atom, axis] = -self.slope(derived, plus, minus)
        assert torch.allclose(forces, numerical, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("system", ["crystal", "slab", "tiny cell"])
    def test_stress_is_finite_differences(self, derived: ForceField, system: str) -> None:
        structures = from_ase(SYSTEMS[system]())
        stress = self.predict(derived, structures)["stress"][0]
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
                numerical[a, b] = self.slope(derived, plus, minus) / structures.volume[0]
        assert torch.allclose(stress, numerical, rtol=1e-6, atol=1e-7)

    def slope(self, potential: ForceField, plus: Structures, minus: Structures) -> torch.Tensor:
        energy = [self.predict(potential, s)["energy"][0] for s in (plus, minus)]
        return (energy[0] - energy[1]) / (2 * self.step)

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_forces_add_up_to_zero(self, derived: ForceField, system: str) -> None:
        forces = self.predict(derived, from_ase(SYSTEMS[system]()))["forces"]
        assert forces.sum(0).abs().max() < TOLERANCE[torch.float64]

    def test_smooth_at_the_cutoff(self, potential: ForceField) -> None:
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

    def test_batch_equals_singles(self, potential: ForceField) -> None:
        parts = [from_ase(make()) for make in SYSTEMS.values()]
        together = self.predict(potential, cat(parts))
        apart = [self.predict(potential, part) for part in parts]
        for key in ("energy", "forces", "stress", "atom_energy"):
            singles = torch.cat([result[key] for result in apart])
            same = torch.allclose(together[key], singles, rtol=0, atol=1e-10, equal_nan=True)
            assert same, key

    def test_no_gradient_across_systems(self, derived: ForceField) -> None:
        structures = cat([from_ase(water()), from_ase(crystal())])
        positions = structures.positions.clone().requires_grad_()
        graph = derived.featurize(structures).replace(positions=positions)
        energy = derived(graph, properties=("energy",), differentiable=True)["energy"]
        (gradient,) = torch.autograd.grad(energy[0], positions)
        assert gradient[:3].abs().max() > 0
        assert not gradient[3:].any()

    @pytest.mark.parametrize("symbol", ["H", "O", "Na", "Cl"])
    def test_isolated_atom(self, potential: ForceField, symbol: str) -> None:
        alone = self.predict(potential, from_ase(Atoms(symbol)))
        assert torch.isfinite(alone["energy"]).all()
        assert not alone["forces"].any()
        boxed = self.predict(potential, from_ase(Atoms(symbol, cell=[30] * 3, pbc=True)))
        assert torch.allclose(alone["energy"], boxed["energy"])
        if "stress" in potential.provides:
            assert not boxed["stress"].any()

    def test_far_fragments_add_up(self, potential: ForceField) -> None:
        atoms, far = water(), water()
        far.positions += 50.0
        pair = self.predict(potential, from_ase(atoms + far))["energy"]
        assert torch.allclose(pair, 2 * self.predict(potential, from_ase(atoms))["energy"])

    def test_partial_periodicity(self, potential: ForceField) -> None:
        """A slab gives the stress of its cell; without a third vector there is none."""
        atoms = slab()
        stress = self.predict(potential, from_ase(atoms))["stress"]
        assert stress.isfinite().all() == ("stress" in potential.provides)
        atoms.cell[2] = 0
        open_slab = self.predict(potential, from_ase(atoms))
        assert open_slab["stress"].isnan().all()
        full = self.predict(potential, from_ase(slab()))
        assert torch.allclose(open_slab["energy"], full["energy"], rtol=0, atol=1e-10)
        assert self.predict(potential, from_ase(water()))["stress"].isnan().all()

    def test_saved_model_is_the_same_to_the_bit(
        self, potential: ForceField, tmp_path: Path
    ) -> None:
        path = checkpoint.save(potential, tmp_path / "model.safetensors")
        loaded = force_field(checkpoint.load(path)[0]).eval()
        assert loaded.dtype == torch.float64
        structures = from_ase(crystal())
        before, after = self.predict(potential, structures), self.predict(loaded, structures)
        for key, value in before.items():
            assert torch.equal(value.nan_to_num(), after[key].nan_to_num()), key

    def test_calculator_equals_direct_call(self, potential: ForceField) -> None:
        atoms = crystal()
        atoms.calc = MatkitCalculator(potential, device="cpu")
        direct = self.predict(potential, from_ase(atoms))
        assert atoms.get_potential_energy() == pytest.approx(float(direct["energy"]), abs=1e-10)
        assert atoms.get_forces() == pytest.approx(direct["forces"].numpy(), abs=1e-10)
        if "stress" in potential.provides:
            stress = atoms.get_stress(voigt=False)
            assert stress == pytest.approx(direct["stress"][0].numpy(), abs=1e-10)

    def test_single_precision_is_close(self, potential: ForceField) -> None:
        structures = from_ase(crystal())
        double = self.predict(potential, structures)
        single = force_field(self.build()).eval()
        single.load_state_dict(potential.state_dict())
        rough = self.predict(single.float(), structures)
        assert rough["forces"].dtype == torch.float64  # geometry and sums stay in double
        scale = double["forces"].abs().max()
        assert (double["forces"] - rough["forces"]).abs().max() < TOLERANCE[torch.float32] * scale

    def test_training_gradients_reach_every_parameter(self, potential: ForceField) -> None:
        model = force_field(self.build()).double().train()
        result = model(model.featurize(cat([from_ase(water()), from_ase(crystal())])))
        loss = result["energy"].square().sum() + result["forces"].square().sum()
        loss.backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert set(missing) == self.unused_parameters

    @staticmethod
    def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
        for key in ("energy", "atom_energy", "forces", "stress"):
            assert torch.allclose(a[key], b[key], rtol=0, atol=1e-9, equal_nan=True), key
