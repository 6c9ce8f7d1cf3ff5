"""Detectors of other packages. Each runs isolated; see `argus_assets.plugins`."""
