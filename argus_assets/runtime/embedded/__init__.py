"""Servers that Argus runs itself from wheels: PostgreSQL, and an S3 server for the demo."""
