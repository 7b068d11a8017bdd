import gc
import os
from pathlib import Path

import pytest

# Kernels and converted weights of a test run stay out of the user's cache, but are shared by the
# workers of one run and by later runs.
CACHE = Path(__file__).parents[1] / ".pytest_cache" / "matkit"
os.environ.setdefault("MATKIT_CACHE", str(CACHE))
pytest.register_assert_rewrite("matkit.testing")


def pytest_collection_finish():
    """Look for garbage less often, and not in what is imported: it took 7 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
