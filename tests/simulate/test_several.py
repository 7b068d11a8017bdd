"""Several structures at once against one after the other."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from matkit.calculator import MatkitCalculator
from matkit.derivatives import Conservative
from matkit.errors import IgnoredConditionError, SimulationError, UnknownElementError
from matkit.simulate.options import RelaxOptions
from matkit.simulate.several import evaluated, relaxed
from tests.phonons.lattice import Morse, argon, morse


def cells():
    """Crystals of different sizes, out of equilibrium."""
    made = [argon() * (n, 1, 1) for n in (1, 3, 2)]
    for seed, atoms in enumerate(made):
        atoms.rattle(0.05, seed=seed)
    return made


def committee():
    members = [Conservative(Morse(6.0, length)).eval() for length in (3.6, 3.8)]
    return MatkitCalculator(members, device="cpu")


@pytest.mark.parametrize("calculator", [morse, committee])
def test_a_batch_is_its_single_structures(calculator):
    for frame, alone in zip(evaluated(cells(), calculator(), stress=True), cells(), strict=True):
        alone.calc = calculator()
        assert frame.get_potential_energy() == pytest.approx(alone.get_potential_energy())
        assert frame.get_forces() == pytest.approx(alone.get_forces(), abs=1e-10)
        assert frame.get_stress() == pytest.approx(alone.get_stress(), abs=1e-12)


def test_what_the_model_does_not_know_is_refused():
    with pytest.raises(UnknownElementError, match="Cu"):
        evaluated([argon(), Atoms("Cu", cell=[3, 3, 3], pbc=True)], morse())
    charged = argon()
    charged.info["charge"] = 1
    with pytest.raises(IgnoredConditionError, match="charge"):
        evaluated([argon(), charged], morse())
    calc = morse()
    calc.set(ignore_charge=True)
    assert len(evaluated([argon(), charged], calc)) == 2


def test_other_calculators_take_one_after_the_other():
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]])
    (frame,) = evaluated([atoms], EMT())
    assert frame.calc.results.keys() == {"energy", "forces"}
    assert atoms.calc is None


def test_held_atoms_stay_held_and_keep_their_forces():
    atoms = argon() * (2, 1, 1)
    atoms.rattle(0.1, seed=0)
    atoms.set_constraint(FixAtoms([0]))
    (frame,) = evaluated([atoms], morse())
    assert not frame.get_forces()[0].any()
    assert frame.get_forces(apply_constraint=False)[0].any()


def test_all_are_relaxed_and_say_how_it_ended():
    frames, reasons = relaxed(cells(), morse(), RelaxOptions(optimizer="BFGS", fmax=1e-3))
    assert reasons == ["converged"] * 3
    assert all(np.abs(frame.get_forces()).max() < 1e-3 for frame in frames)
    short = relaxed(cells(), morse(), RelaxOptions(steps=0, fmax=1e-6))[1]
    assert short == ["converged", "max_steps", "max_steps"]  # one atom has no force


def test_a_relaxation_that_breaks_off_is_an_error():
    class Broken(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["forces"] = self.results["forces"] * np.nan

    with pytest.raises(SimulationError, match="Expected a relaxed structure"):
        relaxed([Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]])], Broken(), RelaxOptions())
