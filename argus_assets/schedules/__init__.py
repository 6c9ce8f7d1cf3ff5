"""Schedules: what is done again without anybody asking. One module for each."""
