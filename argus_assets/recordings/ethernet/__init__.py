"""Ethernet frames of any recording: TCP and UDP of IPv4 and IPv6, and the diagnostics over IP that they carry."""
