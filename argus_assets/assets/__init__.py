"""Dagster assets: fetch, call one pure function, save, record metadata."""
