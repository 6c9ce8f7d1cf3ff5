"""What the tests of deployments share: where the files are."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def deploy() -> Path:
    """The folder of deployments."""
    return Path(__file__).resolve().parents[2] / "deploy"
