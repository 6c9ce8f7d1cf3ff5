"""Error events → error stats; fleet and release statistics. Pure."""
