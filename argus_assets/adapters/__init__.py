"""Implementations of the domain's ports on real services. Nothing here knows Dagster."""
