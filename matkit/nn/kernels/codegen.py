"""Generates the kernels of a convolution as LLVM assembly."""

from __future__ import annotations

from matkit.nn.kernels.backward import BackwardWriter
from matkit.nn.kernels.forward import ForwardWriter
from matkit.nn.kernels.kernel import Kernel, module_text


def generate(kernel: Kernel) -> str:
    """Return the assembly of a module with the function ``entry``, called by every thread."""
    writer = BackwardWriter(kernel) if kernel.gradients else ForwardWriter(kernel)
    writer.write()
    return module_text(writer.e.used, writer.e.lines, kernel.vector_bytes)
