"""Build the recordings of a documented drive from its story: encoders of the standards that share no code with `argus_assets`."""
