"""Import what a run worker needs, once: the process that workers are forked from imports this module.

Nothing here may start a thread of Python's or open a connection: neither would work in a forked process.
"""

import gc
import importlib
from contextlib import suppress
from typing import Final

MODULES: Final = (
    "argus_assets.definitions",
    "argus_assets.dagster_instance.storage",
    "dagster._core.execution.api",
    "dagster._core.executor.in_process",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "numpy",
    "pandas",  # pyarrow imports it where it is installed
    "pyarrow.parquet",
    "s3fs",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "zstandard",
)

for _name in MODULES:
    # An error in a module or a setting is reported by the worker, which imports it again.
    with suppress(Exception):
        importlib.import_module(_name)

# What was imported stays: no worker has to scan it for garbage or copy its pages.
gc.collect()
gc.freeze()
