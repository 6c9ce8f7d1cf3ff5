"""`python -m argus_assets` is the `argus` command."""

import sys
from pathlib import Path

if not sys.flags.safe_path and sys.path and Path(sys.path[0]) != Path(__file__).parents[1]:
    # The folder that somebody happens to stand in, which `-m` puts first: nothing is imported from there.
    del sys.path[0]

from argus_assets.cli import main

if __name__ == "__main__":
    main()
