"""`python -m argus_assets` is the `argus` command."""

from argus_assets.cli import main

if __name__ == "__main__":
    main()
