"""How good diagnoses are: scenarios with known causes, taken through the stages, and scores of what was answered."""
