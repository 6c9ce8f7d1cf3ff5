"""Diagnostic conversations on CAN: ISO-TP, UDS and OBD requests, responses and trouble codes."""
