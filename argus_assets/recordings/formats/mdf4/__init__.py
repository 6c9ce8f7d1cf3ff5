"""ASAM MDF 4: structure, conversions and records."""
