"""Structural formulas of molecules as pictures."""

from __future__ import annotations

from typing import Any

from matkit.builders.smiles import rdkit

# Of a drawing, in pixels.
WIDTH, HEIGHT = 230, 170


def drawing(smiles: str) -> bytes:
    """Return the structural formula of a SMILES as an SVG file."""
    module = rdkit("rdkit.Chem.Draw.rdMolDraw2D")
    pen: Any = module.MolDraw2DSVG(WIDTH, HEIGHT)
    module.PrepareAndDrawMolecule(pen, rdkit().MolFromSmiles(smiles))
    pen.FinishDrawing()
    return str(pen.GetDrawingText()).encode()
