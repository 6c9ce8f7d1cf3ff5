"""Error stats → diagnosis: evidence, knowledge, answer. Pure but for its ports."""
