"""Model of the vehicle: which faults explain what a drive reports, as probabilities."""
