"""Names that a host process and its caller agree on."""

from typing import Final

ANSWER: Final = "answer.json"
"""File of the answer, in the output folder."""
SETTINGS: Final = ("timeout_s", "memory_mib", "output_mib", "processes", "network")
"""Attributes of a plug-in that replace those of `isolation.Bounds`."""
