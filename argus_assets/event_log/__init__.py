"""Dagster's event log as the database that it is here. The only package that knows how it is laid out.

- `events`: typed events (`argus_assets.events`) to Dagster's, and back.
- `queries`: what is asked of the log through Dagster's own interface.
- `tables`: what has to be asked in SQL, on Dagster's tables.

A question about batches belongs here; what follows from its answer belongs to whoever asks.
"""
