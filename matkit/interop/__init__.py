"""Other programs that take their energies and forces from matkit: LAMMPS, i-PI and TorchSim."""
