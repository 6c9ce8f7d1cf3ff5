"""What is made from the code is up to date."""

from pathlib import Path

import pytest

from argus_assets.documentation import documents

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize("name", documents())
def test_a_document_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text() == documents()[name], "run `make docs`"
