"""Metrics, latency and logs of Argus itself. Pure: `metrics_collector` and `status` read the values from Dagster."""
