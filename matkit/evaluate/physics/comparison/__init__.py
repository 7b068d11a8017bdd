"""Several potentials side by side on physics, against one of them and against published numbers."""
