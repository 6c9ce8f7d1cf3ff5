"""Decoders of other packages and external programs. Each runs isolated; see `argus_assets.plugins`."""
