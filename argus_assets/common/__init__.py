"""Building blocks without knowledge of vehicles: tables, texts, files, limits on concurrency."""
