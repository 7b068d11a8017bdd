"""ASE calculator over any potential, or over a committee of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    CalculatorSetupError,
    Parameters,
    PropertyNotImplementedError,
    all_changes,
)

from matkit.calculator_results import as_array, energies_and_forces, stresses
from matkit.conditions import NEUTRAL, ignored_conditions, refuse_ignored
from matkit.data.ase import differences, from_ase
from matkit.derivatives import DERIVED, force_field, stress_is_defined
from matkit.devices import find_device, find_dtype, placed
from matkit.electric import DipoleNetwork
from matkit.errors import ConfigError, StructureError, UnknownElementError, did_you_mean
from matkit.evaluator import refuse_coincident, within
from matkit.graph import Graph
from matkit.hessians.potentials import (
    NO_HESSIAN,
    autograd_hessian,
    finite_difference_hessian,
    predicted_hessian,
)
from matkit.interfaces import Potential, PropertyModel
from matkit.neighbors.verlet import VerletList
from matkit.replay import Replay, cuda_graphs
from matkit.shareable import Shareable, one_at_a_time
from matkit.structures import Structures

logger = logging.getLogger(__name__)

HESSIANS = {
    "autograd": autograd_hessian,
    "finite-difference": finite_difference_hessian,
    "predict": predicted_hessian,
}


class ElementSetupError(UnknownElementError, CalculatorSetupError):
    """The model does not know an element; also ASE's error for an impossible set-up."""


class NoStressError(StructureError, PropertyNotImplementedError):
    """Stress was asked of a structure without periodicity or without a full cell."""


class MatkitCalculator(Shareable):
    """ASE calculator with energy, forces and stress of a potential.

    Energies in eV, forces in eV/Å, stress in eV/Å³ (Voigt, positive in tension). An unchanged
    structure is not computed twice; a change of positions, cell, elements, periodicity, charge
    or spin is noticed. With several potentials results are means, with their standard deviations
    over the members beside them: `energy_std`, `forces_std` [N, 3] and `stress_std` [6]. Threads
    may share a calculator: each gets the results of its own structure, one after the other.

    Args:
        potentials: One potential or a committee; copied where type, device or mode must change.
            Networks without forces are differentiated, see `matkit.derivatives.force_field`.
        device: `cpu`, `cuda`, ...; `auto` takes the GPU if there is one.
        dtype: `float32` or `float64`; None leaves it to the task, see `at`, and is the first
            potential's own type elsewhere.
        skin: Extra reach of the neighbour list in Å.
        neighbors: Neighbour search, see `matkit.neighbors.radius_graph`.
        info: What to tell users of the model.
        ignore_charge: Compute structures with a charge or multiplicity that the model does not
            take into account as neutral singlets; else they are refused.
        dipole: Network of properties with a dipole, which is given for molecules then, in e Å,
            and the charges it is made of, in e.

    Raises:
        ConfigError: `dtype` is none of the above, `device` is not there, `skin` is no length,
            there is no potential, or `dipole` is no network of one dipole.
        ModelError: a potential gives no energies and forces, or not what it declares.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012 ASE's form

    def __init__(
        self,
        potentials: Potential | Sequence[Potential],
        device: str | torch.device = "auto",
        dtype: str | torch.dtype | None = None,
        skin: float = 0.5,
        neighbors: str = "auto",
        info: Mapping[str, Any] | None = None,
        ignore_charge: bool = False,
        dipole: PropertyModel | None = None,
    ) -> None:
        super().__init__()
        # ASE's old method, bound to the calculator itself: it would be freed by the garbage
        # collector only, and networks with it.
        vars(self).pop("get_spin_polarized", None)
        members = [potentials] if isinstance(potentials, Potential) else list(potentials)
        if not members:
            raise ConfigError("Expected at least one potential, got none.")
        self._members = [force_field(member) for member in members]
        self.conservative = all(member.conservative for member in self._members)
        self.info = {**(info or {}), "conservative": self.conservative}
        self._provides = frozenset.intersection(*(m.provides for m in self._members))
        self.dipole = dipole
        self._dipole = None if dipole is None else DipoleNetwork(dipole.eval())
        self.implemented_properties = self._implemented()
        self.parameters = Parameters(
            device=str(device),
            dtype=None if dtype is None else str(dtype).removeprefix("torch."),
            skin=skin,
            neighbors=neighbors,
            ignore_charge=ignore_charge,
        )
        self._set_up()

    def _implemented(self) -> list[str]:
        """Return what ASE may ask for: of a committee what all members give."""
        sources = {"energies": "atom_energy", "stress": "stress"}
        names = type(self).implemented_properties
        given = [n for n in names if n not in sources or sources[n] in self._provides]
        spread = [f"{n}_std" for n in ("energy", "forces", "stress") if n in given]
        given += ["dipole", "charges"] if self._dipole is not None else []
        return given + (spread if len(self._members) > 1 else [])

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that all members know."""
        return tuple(sorted(set.intersection(*(set(member.species) for member in self._members))))

    def _set_up(self) -> None:
        """Make everything that depends on the parameters."""
        given = self.parameters
        skin = given["skin"]
        if not (isinstance(skin, int | float | np.number) and 0 <= skin < np.inf):
            raise ConfigError(f"Expected as `skin` a length in Å of at least 0, got {skin!r}.")
        self.device = find_device(str(given["device"]))
        dtype = given["dtype"]
        self.dtype = self._members[0].dtype if dtype is None else find_dtype(str(dtype))
        self.potentials = [placed(member, self.device, self.dtype) for member in self._members]
        cutoff = max(member.cutoff for member in self.potentials)
        self.neighbors = VerletList(cutoff, float(skin), given["neighbors"])
        self._replay: Replay | None = None
        if self.can_replay:
            record = cuda_graphs(self.device)
            self._replay = Replay(self.potentials, self.neighbors, self.device, record)
        self._stress: dict[str, np.ndarray] = {}
        self._said: set[str] = set()
        self._at: dict[torch.dtype, MatkitCalculator] = {}

    @property
    def can_replay(self) -> bool:
        """Whether steps can be recorded as CUDA graphs."""
        recordable = all(member.recordable for member in self._members)
        return self.device.type == "cuda" and recordable and "atom_energy" in self._provides

    @one_at_a_time
    def set(self, **changes: Any) -> dict[str, Any]:
        """Change parameters as ASE does, forget all results, and return what has changed.

        Raises:
            ConfigError: a name is unknown, or a value impossible; nothing is changed then.
        """
        for name in changes:
            if name not in self.parameters:
                raise ConfigError(
                    f"Unknown parameter {name!r}.{did_you_mean(name, self.parameters)} The model "
                    "stays: for another load another calculator."
                )
        changed = {k: v for k, v in changes.items() if v != self.parameters[k]}
        if changed:
            before = self.parameters
            self.parameters = Parameters(before | changed)
            try:
                self._set_up()
            except Exception:
                self.parameters = before
                self._set_up()
                raise
            self.reset()
        return changed

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Return what the results depend on, for data bases and trajectories.

        Args:
            skip_default: Without effect: defaults may be others tomorrow.
        """
        changes = ("dispersion", "dispersion_functional", "symmetrize", "dipole")
        model = {k: self.info[k] for k in ("model", "sha256", *changes) if k in self.info}
        used = {"device": str(self.device), "dtype": str(self.dtype).removeprefix("torch.")}
        return {**model, **self.parameters, **used}

    @one_at_a_time
    def at(self, dtype: str) -> MatkitCalculator:
        """Return the calculator for a task that computes in `dtype` if nobody says otherwise.

        This one, if its own precision was asked for or is the same; else one for the task alone.
        """
        wanted = find_dtype(dtype)
        if self.parameters["dtype"] is not None or self.dtype == wanted:
            return self
        if wanted not in self._at:
            logger.info("Computing in %s; a calculator with a dtype of its own keeps that.", dtype)
            given = {**self.parameters, "dtype": dtype, "dipole": self.dipole}
            self._at[wanted] = type(self)(self._members, info=self.info, **given)
        return self._at[wanted]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out calculators made for tasks."""
        return {**super().__getstate__(), "_at": {}}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation; charge and spin count too."""
        return list(all_changes) if self.atoms is None else differences(self.atoms, atoms)

    @one_at_a_time
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``self.results``; the stress only if asked.

        Raises:
            StructureError: the structure is empty, not finite, has coinciding atoms, or a charge
                or multiplicity that the model does not take into account.
            ElementSetupError: an element is unknown to the model.
            NoStressError: the stress of a molecule was asked for.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if system_changes or not self.results:
            structures = self.structures(None)
            defined = "stress" in self._provides and bool(stress_is_defined(structures))
            results = self._replay(structures) if self._replay else None
            if results is None:
                graph = self._graph(structures)
                wanted = DERIVED if defined else DERIVED - {"stress"}
                results = [member(within(graph, member), wanted) for member in self.potentials]
            self.results = energies_and_forces(results, self._provides)
            self._stress = stresses(results) if defined else {}
        if not {"stress", "stress_std"}.isdisjoint(properties):
            self.results |= self._checked_stress()
        if self._dipole is not None and "dipole" in properties:
            self.results["dipole"] = as_array(self._dipole(self.structures(None))[0])
        if self._dipole is not None and "charges" in properties:
            self.results["charges"] = as_array(self._dipole.charges(self.structures(None)))

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property as ASE does; a stress that the model lacks is refused with a reason."""
        if name in ("stress", "stress_std") and "stress" not in self._provides:
            raise NoStressError(
                "The model predicts forces of its own and no stress. Relax without the cell, or "
                "take a model whose forces are derivatives of its energy."
            )
        return super().get_property(name, atoms, allow_calculation)

    @one_at_a_time
    def get_hessian(
        self,
        atoms: Atoms | None = None,
        method: str = "autograd",
        block: int = 512,
        free: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return second derivatives of the energy.

        Args:
            atoms: Structure; the one last calculated if not given.
            method: `autograd` (exact), `finite-difference` (of the forces, step 1e-3 Å), or
                `predict` (one forward pass of a model with a Hessian head, such as hip).
            block: Atoms handled at once, which bounds the memory.
            free: Atoms whose rows are wanted, which spares the work for the rest unless it is
                predicted; None for all. What two others do to each other is zero then.

        Returns:
            Matrix [3N, 3N] in eV/Å², rows and columns atom by atom (x, y, z), symmetrised.

        Raises:
            ConfigError: `method` is none of these, or the model predicts no Hessians.
            StructureError: no structure was given or calculated before.
        """
        self.check_hessian(method)
        structures = self.structures(atoms).to(self.device)
        rows = [HESSIANS[method](member, structures, block, free) for member in self.potentials]
        hessian: np.ndarray = torch.stack(rows).mean(0).cpu().numpy()
        return hessian

    def check_hessian(self, method: str) -> None:
        """Check that `get_hessian` can use a method.

        Raises:
            ConfigError: the method is unknown, or the model predicts no Hessians.
        """
        if method not in HESSIANS:
            raise ConfigError(f"Unknown Hessian method {method!r}.{did_you_mean(method, HESSIANS)}")
        if method == "autograd" and not self.conservative:
            raise ConfigError(
                "The forces of this model are not the derivative of its energy, so that the second "
                "derivatives of the energy do not belong to them. Use method 'finite-difference'."
            )
        if method == "predict" and any(p.hessian_cutoff is None for p in self.potentials):
            raise ConfigError(NO_HESSIAN)

    @one_at_a_time
    def get_descriptors(self, atoms: Atoms | None = None) -> np.ndarray:
        """Return invariant descriptors of each atom [N, F] (of the committee's first member)."""
        graph = self._graph(self.structures(atoms))
        result = self.potentials[0](within(graph, self.potentials[0]), properties=("energy",))
        if "features" not in result:
            raise PropertyNotImplementedError("This model has no atomic descriptors.")
        descriptors: np.ndarray = result["features"].detach().cpu().numpy()
        return descriptors

    def structures(self, atoms: Atoms | None = None) -> Structures:
        """Return what the potentials are given for a structure (a batch of one).

        Args:
            atoms: Structure; the one last calculated if not given.

        Raises:
            StructureError: it is none that can be computed, or has a charge or multiplicity that
                the model does not take into account.
            ElementSetupError: an element is unknown to the model.
        """
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise StructureError("Expected a structure, got none: pass `atoms`.")
        structures = from_ase(atoms)
        self._check_conditions(structures)
        try:
            for member in self.potentials:
                member.check_species(structures)
        except UnknownElementError as error:
            raise ElementSetupError(str(error)) from error
        return structures

    def ignored(self, atoms: Atoms) -> str:
        """Return which charge and multiplicity of a structure is ignored, empty if none is."""
        return self._ignored(from_ase(atoms))

    def _ignored(self, structures: Structures) -> str:
        return ignored_conditions(structures, self.conditions()).get(0, "")

    def conditions(self) -> frozenset[str]:
        """Return what every member takes into account."""
        return frozenset.intersection(*(frozenset(m.conditions) for m in self.potentials))

    def _check_conditions(self, structures: Structures) -> None:
        """Refuse a charge or multiplicity that the model does not know of, or say it once."""
        if not structures.system.keys() & NEUTRAL.keys():
            return
        if not self.parameters["ignore_charge"]:
            refuse_ignored(structures, self.conditions())
        elif (text := self._ignored(structures)) and text not in self._said:
            self._said.add(text)
            logger.warning("Ignored, for the model does not take it into account: %s.", text)

    def _graph(self, structures: Structures) -> Graph:
        graph = self.neighbors.graph(structures, self.device)
        refuse_coincident(graph)
        return graph

    def _checked_stress(self) -> dict[str, np.ndarray]:
        if not self._stress:
            atoms = self.atoms or Atoms()
            raise NoStressError(
                "Stress is defined for a structure that is periodic and has three lattice vectors; "
                f"got pbc = {atoms.pbc.tolist()}, cell = {atoms.cell.array.round(4).tolist()}. For "
                "a molecule ask for energy and forces only, and relax without the cell."
            )
        return self._stress
