"""The instance settings of `deploy/` are those of `dagster.yaml`, but for what is stated."""

from pathlib import Path

import pytest

from scripts.deploy_files import files

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", files())
def test_a_file_is_what_dagster_yaml_says(name: str) -> None:
    assert (ROOT / name).read_text() == files()[name], "run `make docs`"
