"""Cores and memory of a run, as a Dagster resource."""

from typing import Any

import dagster as dg

from argus_assets.common.capacity import MEMORY_SHARE, MIB, Capacity, machine_memory, usable_cores


class CapacityResource(dg.ConfigurableResource[Any]):
    """Cores and memory of one run.

    Attributes:
        memory_mb: MiB that one run may take; none for an equal share of most of the machine's memory.
        model_calls: Calls to a language model at the same time; each may keep a batch waiting.
    """

    memory_mb: int | None = None
    model_calls: int = 0

    def capacity(self, *, runs_at_once: int) -> Capacity:
        """Return the capacity.

        Args:
            runs_at_once: Runs that share the machine.
        """
        share = int(machine_memory() * MEMORY_SHARE / max(1, runs_at_once))
        return Capacity.of(
            cores=usable_cores(),
            memory_bytes=self.memory_mb * MIB if self.memory_mb else share,
            model_calls=self.model_calls,
        )
