"""Events and alerts about batches for other systems, their endpoints and signatures.

Pure: sending and storing are in `adapters`.
"""
