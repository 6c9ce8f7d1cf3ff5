"""Vector BLF."""
