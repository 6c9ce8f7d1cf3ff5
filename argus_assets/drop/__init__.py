"""The drop protocol: keys, manifest, intake plan, uploader. Pure but for fsspec."""
