"""Plans of upkeep: what to run again, what is stale, what to retain, what the inbox missed. Pure: carried out by schedules and commands."""
