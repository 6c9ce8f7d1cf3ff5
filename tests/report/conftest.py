"""Pages of simulated drives."""

from pathlib import Path

import pytest

from tests.support.drives import MadeDrive, made_drive


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> MadeDrive:
    """A drive with a planted fault and a file that is no recording."""
    return made_drive(tmp_path_factory.mktemp("faulty"), "truck_oil_pressure", junk={"notes.bin": b"\x00 no recording"})


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> MadeDrive:
    """A drive without faults."""
    return made_drive(tmp_path_factory.mktemp("healthy"), "car_healthy")


@pytest.fixture
def page_of(tmp_path: Path):
    """Writes a page to a file."""

    def write(drive: MadeDrive) -> Path:
        file = tmp_path / "page.html"
        file.write_text(drive.page())
        return file

    return write
