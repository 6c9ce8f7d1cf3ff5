"""Metrics, latency and logs of the system. Pure: `metrics_collector` and `status` read the values from Dagster."""
