"""A drive without anything in it, for detectors that are given their frames by hand."""

import polars as pl

from argus_assets.recordings.drive import Drive
from argus_assets.recordings.schema import DIAGNOSTICS, FRAMES, LOGS

EMPTY_DRIVE = Drive(*(t.empty().lazy().with_columns(recording=pl.lit("")) for t in (FRAMES, LOGS, DIAGNOSTICS)))
