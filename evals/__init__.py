"""Evaluate diagnoses: process scenarios with known causes through the stages, and score the answers."""
