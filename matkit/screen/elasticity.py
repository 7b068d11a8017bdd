"""Step ``elastic``: elastic constants, and whether the crystal withstands every small strain."""

from __future__ import annotations

from ase.calculators.calculator import BaseCalculator

from matkit.elastic.options import ElasticOptions
from matkit.elastic.run import elastic
from matkit.runs.items import Item, ItemResult
from matkit.screen.chain import Step
from matkit.screen.options import ScreenOptions
from matkit.screen.singles import at_rest, singly
from matkit.units import GPA

# Half as many as `matkit elastic` takes: enough for a verdict and for moduli within some percent.
STRAINS = [-0.01, 0.01]


def withstanding(options: ScreenOptions, item: Item, calc: BaseCalculator) -> ItemResult:
    """Reject a crystal that a small strain brings to lower energy (Born's criterion)."""
    atoms = at_rest(item.content, calc, options)
    wanted = ElasticOptions(
        relax=False,
        norm_strains=STRAINS,
        shear_strains=STRAINS,
        fmax=options.tight,
        steps=options.relax_steps,
    )
    found = elastic(atoms, calc, wanted)
    facts = {"bulk_modulus": found.bulk_modulus / GPA, "softest": found.smallest_stiffness / GPA}
    if not found.stable:
        reason = f"a strain of stiffness {facts['softest']:.1f} GPa lowers the energy"
        return ItemResult(item, "rejected", reason=reason, facts=facts)
    if found.moduli is not None:
        facts |= {"shear_modulus": found.moduli.shear / GPA, "young": found.moduli.young / GPA}
    atoms = found.atoms.copy()
    atoms.info = dict(item.content.info)
    return ItemResult(item, "done", (atoms,), facts=facts)


STEP = Step(
    name="elastic",
    work=singly(withstanding),
    columns=("bulk_modulus", "shear_modulus", "young", "softest"),
    verdict="mechanically unstable",
    after=("relax",),
    options=frozenset({"tight", "relax_steps"}),
)
