"""Plans: what to rerun, what is stale, what has expired, what the inbox missed. Pure: schedules and commands act on them."""
