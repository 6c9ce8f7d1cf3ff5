"""The lake: tables, documents and pages under one URL."""
