"""Faults that software reports itself: log entries and diagnostic statuses."""
