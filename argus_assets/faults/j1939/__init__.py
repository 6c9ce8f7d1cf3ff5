"""SAE J1939: transport protocol, names, diagnostic messages and trouble codes."""
