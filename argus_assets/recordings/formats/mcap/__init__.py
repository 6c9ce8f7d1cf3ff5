"""MCAP: chunks, schemas and channels, decoded messages."""
