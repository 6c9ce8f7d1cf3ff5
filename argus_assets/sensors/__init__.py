"""Dagster sensors, one module each: list, call a pure planner, return one result.

What to do is decided in `drop`, `maintenance` and `notifications`; what the event log says is asked in `event_log`.
"""
