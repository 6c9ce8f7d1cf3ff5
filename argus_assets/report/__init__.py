"""Diagnosis and tables → one self-contained HTML page. Pure."""
