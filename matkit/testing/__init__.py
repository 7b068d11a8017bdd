"""What models must fulfil, as suites of pytest: inherit one, name the model, and run pytest.

Needs pytest. A plug-in of another distribution uses them as matkit's own models do.
"""

from matkit.testing.generators import GeneratorContract
from matkit.testing.potentials import PotentialContract

__all__ = ["GeneratorContract", "PotentialContract"]
