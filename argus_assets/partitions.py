"""Partitions: one per batch, in the order in which batches were first seen."""

from typing import Final

import dagster as dg

BATCHES: Final = "batches"
"""Name under which Dagster keeps the batches' keys."""

batches = dg.DynamicPartitionsDefinition(name=BATCHES)
"""Keys are `<date recorded>_<vehicle_id>_<batch_id>`; see `drop/keys.py`."""
