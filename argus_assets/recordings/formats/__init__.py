"""Readers of file formats, one package or module for each."""
