"""Frame tables → error events. Pure: polars and numpy in, polars out."""
