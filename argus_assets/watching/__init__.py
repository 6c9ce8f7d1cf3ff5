"""Figures for those who watch the platform: metrics, latency of a batch, freshness, lifecycle of faults. Pure: read from Dagster by status and resources/."""
