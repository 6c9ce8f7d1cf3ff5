"""Assets of a batch with another way of making one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from argus_assets.assets import batch_assets


@contextmanager
def made_by(stage: str, make: Callable[..., Any]) -> Iterator[None]:
    """Have a stage made by `make` for the time of the block."""
    with pytest.MonkeyPatch.context() as patch:
        assets = batch_assets.BATCH_ASSETS
        assert stage in {asset.stage.name for asset in assets}
        planted = tuple(replace(asset, make=make) if asset.stage.name == stage else asset for asset in assets)
        patch.setattr(batch_assets, "BATCH_ASSETS", planted)
        yield
