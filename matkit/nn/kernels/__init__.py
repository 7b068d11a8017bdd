"""The channelwise tensor-product convolution, the operation steerable networks live in.

`Convolution` is the layer. Behind it, `reference` is the definition in plain torch; the `fused`
backend generates LLVM assembly for the irreps at hand (`codegen`), compiles it for this
processor (`compiler`) and runs it on torch's threads (`launch`, `threads`). The Triton backend
does the same on a GPU (`triton_writer`, `triton_loader`, `triton_backend`). `backends` says which
serves a device, and `autograd` gives both derivatives of any order.
"""

from matkit.nn.kernels.check import check
from matkit.nn.kernels.module import Backend, Convolution
from matkit.nn.kernels.paths import Coupling, Layout

__all__ = ["Backend", "Convolution", "Coupling", "Layout", "check"]
