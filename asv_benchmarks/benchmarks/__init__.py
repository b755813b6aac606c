"""Benchmarks for airspeed velocity, and what the comparison with other libraries shares with them."""

import os

if "ASV_COMMIT" in os.environ:  # asv installs one commit after the other into the same environment
    os.environ["NUMBA_CACHE_DIR"] = os.path.join(
        os.environ["ASV_ENV_DIR"], "numba_cache", os.environ["ASV_COMMIT"]
    )
