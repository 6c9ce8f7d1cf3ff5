"""Dagster sensors: list, call a pure planner, return one result."""
