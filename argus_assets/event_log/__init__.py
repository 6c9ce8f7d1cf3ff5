"""Dagster's event log as the database that it is here. The only package that knows how it is laid out.

- `events`: typed events (`argus_assets.events`) to Dagster's, and back.
- `queries`: what is asked of the log through Dagster's own interface.
- `states`: the state of each batch, which follows from the log.
- `tables`: what has to be asked, or deleted, in SQL on Dagster's tables.
- `retention_store`: the port of retention, on top of these.

A question about batches belongs here; what follows from its answer belongs to whoever asks.
"""
