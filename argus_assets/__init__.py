"""Argus: a dropped drive becomes a diagnosis."""

import os

# Batches and recordings are worked on side by side; threads of polars below them only wait for each other.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
