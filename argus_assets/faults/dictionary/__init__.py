"""Meanings of codes: the shipped dictionary and what a user adds to it."""
