"""Kohn-Sham matrices over atomic orbitals: conventions, labels, and what follows from them."""
