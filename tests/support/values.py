"""Values that many tests state and none depends on."""

from typing import Final

VIN: Final = "1M8GDM9AXKP042788"
"""Valid by ISO 3779: its check digit is right. It belongs to no vehicle."""

START_NS: Final = 1_795_000_000 * 10**9
"""2026-11-18 11:06:40 UTC, when most simulated drives begin."""
