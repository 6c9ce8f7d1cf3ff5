"""Bytes of recordings → frame tables. Pure: knows neither Dagster nor any storage service."""
