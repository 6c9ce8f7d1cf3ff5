"""Events and alerts about batches, their endpoints and signatures. Pure: sending and storing are in `adapters`."""
