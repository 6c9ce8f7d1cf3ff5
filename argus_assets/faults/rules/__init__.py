"""Rules that users write in TOML: decoded signals and conditions on them."""
