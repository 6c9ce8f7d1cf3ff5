"""Dagster's ConfigurableResources, nothing else: each builds one thing of the domain or an adapter."""
