"""ASE calculator over any potential, or over a committee of them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    CalculatorSetupError,
    PropertyNotImplementedError,
    all_changes,
)
from torch import Tensor

from matkit.data.ase import from_ase
from matkit.derivatives import stress_is_defined
from matkit.errors import ConfigError, StructureError, UnknownElementError, did_you_mean
from matkit.geometry import to_voigt
from matkit.graph import Graph
from matkit.hessian import (
    NO_HESSIAN,
    autograd_hessian,
    finite_difference_hessian,
    predicted_hessian,
)
from matkit.interfaces import Potential, Properties
from matkit.replay import COINCIDENT, Replay, cuda_graphs
from matkit.structures import Structures
from matkit.verlet import VerletList

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float64": torch.float64}
HESSIANS = {
    "autograd": autograd_hessian,
    "finite-difference": finite_difference_hessian,
    "predict": predicted_hessian,
}


class ElementSetupError(UnknownElementError, CalculatorSetupError):
    """The model does not know an element; also ASE's error for an impossible set-up."""


class NoStressError(StructureError, PropertyNotImplementedError):
    """Stress was asked of a structure without periodicity or without a full cell."""


class MatkitCalculator(Calculator):
    """ASE calculator with energy, forces and stress of a potential.

    Energies in eV, forces in eV/Å, stress in eV/Å³ (Voigt, positive in tension). An unchanged
    structure is not computed twice; a change of positions, cell, elements, periodicity, charge
    or spin is noticed. With several potentials results are means, with `energy_var` (eV²) and
    `forces_comm` [members, N, 3] beside them.

    Args:
        potentials: One potential or a committee; copied where type, device or mode must change.
        device: `cpu`, `cuda`, ...; `auto` takes the GPU if there is one.
        dtype: `float32` or `float64`; None keeps the first potential's own type.
        skin: Extra reach of the neighbour list in Å.
        neighbors: Neighbour search, see `matkit.neighbors.radius_graph`.
        info: What to tell users of the model.

    Raises:
        ConfigError: `dtype` is none of the above, `device` is not there, or there is no potential.
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
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # ASE's old method, bound to the calculator itself: it would be freed by the garbage
        # collector only, and networks with it.
        vars(self).pop("get_spin_polarized", None)
        members = [potentials] if isinstance(potentials, Potential) else list(potentials)
        if not members:
            raise ConfigError("Expected at least one potential, got none.")
        self.device = find_device(device)
        self.dtype = _dtype(dtype) or members[0].dtype
        self.potentials = [_ready(member, self.device, self.dtype) for member in members]
        self.info = dict(info or {})
        if len(members) > 1:
            extra = ["energy_var", "forces_comm"]
            self.implemented_properties = [*type(self).implemented_properties, *extra]
        cutoff = max(member.cutoff for member in members)
        self.neighbors = VerletList(cutoff, skin, neighbors)
        self._replay: Replay | None = None
        if self.device.type == "cuda":
            record = cuda_graphs(self.device)
            self._replay = Replay(self.potentials, self.neighbors, self.device, record)
        self._stress: np.ndarray | None = None
        self._ignored: set[str] = set()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation; charge and spin count too."""
        changes: list[str] = super().check_state(atoms, tol)  # type: ignore[no-untyped-call]
        if self.atoms is not None and _charge_and_spin(self.atoms) != _charge_and_spin(atoms):
            changes.append("info")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``self.results``; the stress only if asked.

        Raises:
            StructureError: the structure is empty, not finite, or has coinciding atoms.
            ElementSetupError: an element is unknown to the model.
            NoStressError: the stress of a molecule was asked for.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if system_changes or not self.results:
            structures = self._structures(None)
            results = self._replay(structures) if self._replay else None
            if results is None:
                graph = self._graph(structures)
                results = [member(_within(graph, member)) for member in self.potentials]
            self._store(results, structures)
        if "stress" in properties:
            self.results["stress"] = self._checked_stress()

    def get_hessian(
        self,
        atoms: Atoms | None = None,
        method: str = "autograd",
        block: int = 512,
    ) -> np.ndarray:
        """Return second derivatives of the energy.

        Args:
            atoms: Structure; the one last calculated if not given.
            method: `autograd` (exact), `finite-difference` (of the forces, step 1e-3 Å), or
                `predict` (one forward pass of a model with a Hessian head, such as hip).
            block: Atoms handled at once, which bounds the memory.

        Returns:
            Matrix [3N, 3N] in eV/Å², rows and columns atom by atom (x, y, z), symmetrised.

        Raises:
            ConfigError: `method` is none of these, or the model predicts no Hessians.
            StructureError: no structure was given or calculated before.
        """
        self.check_hessian(method)
        structures = self._structures(atoms).to(self.device)
        rows = [HESSIANS[method](member, structures, block) for member in self.potentials]
        hessian: np.ndarray = torch.stack(rows).mean(0).cpu().numpy()
        return hessian

    def check_hessian(self, method: str) -> None:
        """Check that `get_hessian` can use a method.

        Raises:
            ConfigError: the method is unknown, or the model predicts no Hessians.
        """
        if method not in HESSIANS:
            raise ConfigError(f"Unknown Hessian method {method!r}.{did_you_mean(method, HESSIANS)}")
        if method == "predict" and any(p.hessian_cutoff is None for p in self.potentials):
            raise ConfigError(NO_HESSIAN)

    def get_descriptors(self, atoms: Atoms | None = None) -> np.ndarray:
        """Return invariant descriptors of each atom [N, F] (of the committee's first member)."""
        graph = self._graph(self._structures(atoms))
        result = self.potentials[0](_within(graph, self.potentials[0]), properties=("energy",))
        if "features" not in result:
            raise PropertyNotImplementedError("This model has no atomic descriptors.")
        descriptors: np.ndarray = result["features"].detach().cpu().numpy()
        return descriptors

    def _structures(self, atoms: Atoms | None) -> Structures:
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise StructureError("Expected a structure, got none: pass `atoms`.")
        structures = from_ase(atoms)
        self._warn_of_ignored(structures)
        try:
            for member in self.potentials:
                member.check_species(structures)
        except UnknownElementError as error:
            raise ElementSetupError(str(error)) from error
        return structures

    def _warn_of_ignored(self, structures: Structures) -> None:
        """Say once if the structure has a charge or spin that the model does not know of."""
        for key, neutral in (("charge", 0.0), ("spin", 1.0)):
            value = structures.system.get(key)
            known = all(key in member.conditions for member in self.potentials)
            if value is None or known or key in self._ignored or float(value[0]) == neutral:
                continue
            self._ignored.add(key)
            logger.warning(
                "The structure has %s %g, but this model does not take it into account.",
                key,
                float(value[0]),
            )

    def _graph(self, structures: Structures) -> Graph:
        graph = self.neighbors.graph(structures, self.device)
        _refuse_coincident(graph)
        return graph

    def _store(self, results: Sequence[Properties], structures: Structures) -> None:
        energy = torch.stack([r["energy"] for r in results])[:, 0]
        forces = torch.stack([r["forces"] for r in results])
        self.results = {
            "energy": float(energy.mean()),
            "free_energy": float(energy.mean()),
            "energies": _numpy(torch.stack([r["atom_energy"] for r in results]).mean(0)),
            "forces": _numpy(forces.mean(0)),
        }
        stress = to_voigt(torch.stack([r["stress"] for r in results]).mean(0)[0])
        self._stress = _numpy(stress) if bool(stress_is_defined(structures)) else None
        if len(results) > 1:
            self.results["energy_var"] = float(energy.var(unbiased=False))
            self.results["forces_comm"] = _numpy(forces)

    def _checked_stress(self) -> np.ndarray:
        if self._stress is None:
            atoms = self.atoms or Atoms()
            raise NoStressError(
                "Stress is defined for a structure that is periodic and has three lattice vectors; "
                f"got pbc = {atoms.pbc.tolist()}, cell = {atoms.cell.array.round(4).tolist()}. For "
                "a molecule ask for energy and forces only, and relax without the cell."
            )
        return self._stress


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    if isinstance(dtype, str):
        if dtype not in DTYPES:
            raise ConfigError(f"Unknown dtype {dtype!r}.{did_you_mean(dtype, DTYPES)}")
        return DTYPES[dtype]
    return dtype


def find_device(device: str | torch.device) -> torch.device:
    """Return the device that is meant; `auto` is the GPU if there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device  # with its number
    # torch says "not compiled with CUDA" by AssertionError, the rest by RuntimeError.
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"Cannot compute on device {str(device)!r} ({str(error).splitlines()[0]}). Use cpu, "
            "auto, or a device that `matkit doctor` lists."
        ) from error


def _ready(potential: Potential, device: torch.device, dtype: torch.dtype) -> Potential:
    """Return the potential in evaluation mode, as a copy if anything must change."""
    place = next(potential.parameters()).device
    same_place = place.type == device.type and device.index in (None, place.index)
    if same_place and potential.dtype == dtype and not potential.training:
        return potential
    return copy.deepcopy(potential).to(device, dtype).eval()


def _charge_and_spin(atoms: Atoms) -> tuple[Any, ...]:
    from matkit.data.ase import CHARGE_KEYS, SPIN_KEYS

    return tuple(atoms.info.get(key) for key in (*CHARGE_KEYS, *SPIN_KEYS))


def _within(graph: Graph, potential: Potential) -> Graph:
    """Return the edges a committee member with a shorter cutoff is made for."""
    if potential.cutoff == graph.cutoff:
        return graph
    near = graph.vectors.square().sum(dim=1) < potential.cutoff**2
    return graph.keep_edges(near).replace(cutoff=potential.cutoff)


def _refuse_coincident(graph: Graph) -> None:
    touching = (graph.vectors.square().sum(dim=1) < COINCIDENT).nonzero()
    if len(touching):
        edge = int(touching[0])
        raise StructureError(
            f"Atoms {int(graph.center[edge])} and {int(graph.neighbor[edge])} are at the same "
            "place; their energy is not defined. Remove the duplicate."
        )


def _numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().to("cpu", torch.float64).numpy()
    return array
