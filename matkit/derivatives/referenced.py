"""Reference energies for networks that have none."""

from __future__ import annotations

from torch import Tensor

from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.embedding import SpeciesIndex
from matkit.nn.references import References
from matkit.pair_blocks import PairBlocks


class Referenced(Potential):
    """A network whose atomic energies count from reference energies of the elements.

    ``E_i = scale[z_i] x_i + shift[z_i]``, where x is what the network returns as `atom_energy`; a
    total `energy` of its own gets the sum of the shifts. What else it returns is left as it is.

    Args:
        network: Potential that provides `atom_energy` or `energy`.
    """

    def __init__(self, network: Potential) -> None:
        super().__init__()
        self.network = network
        self.references = References(len(network.species))
        self.index = SpeciesIndex(network.species)
        self.cutoff, self.species = network.cutoff, network.species
        self.provides, self.conditions = network.provides, network.conditions
        self.hessian_cutoff, self.pair_cutoff = network.hessian_cutoff, network.pair_cutoff
        self.one_level, self.recordable = network.one_level, network.recordable

    def forward(self, graph: Graph) -> Properties:
        """Return what the network does, with energies counted from the references."""
        return self._shifted(self.network(graph), graph)

    def edge_gradient(self, graph: Graph) -> tuple[Properties, Tensor] | None:
        """Return the network's own derivative in units of the scale, if all elements share one."""
        scale = self.references.scale
        found = self.network.edge_gradient(graph) if bool((scale == scale[0]).all()) else None
        if found is None:
            return None
        result, gradient = found
        return self._shifted(result, graph), gradient * scale[0]

    def hessian_blocks(self, graph: Graph) -> PairBlocks | None:
        """Return the Hessian that the network predicts."""
        return self.network.hessian_blocks(graph)

    def _shifted(self, result: Properties, graph: Graph) -> Properties:
        result = Properties(**result)
        index = self.index(graph.species)
        if "atom_energy" in result:
            result["atom_energy"] = self.references(result["atom_energy"], index)
        if "energy" in result:
            shift = self.references.shift[index]
            energy = result["energy"].double()
            result["energy"] = energy.index_add(0, graph.batch, shift)
        return result
