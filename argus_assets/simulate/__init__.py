"""A fleet with known faults: recordings with ground truth, the same for the same seed."""
