"""Argus: a dropped drive becomes a diagnosis."""
