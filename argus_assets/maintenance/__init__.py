"""Plans of maintenance: what to rerun, what is stale, what has expired, what the inbox missed.

Pure: schedules, sensors and commands carry them out.
"""
