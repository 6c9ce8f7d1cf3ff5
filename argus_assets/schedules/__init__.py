"""Dagster schedules, one module each: what is done again without anybody asking.

What is due is decided in `maintenance` and `diagnosis`; what the event log says is asked in `event_log`.
"""
