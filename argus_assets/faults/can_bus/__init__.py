"""Faults of the bus itself: error frames, silent channels, bus load."""
