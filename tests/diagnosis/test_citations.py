"""Citations: what the evidence cites is in the tables, and what is not in the tables is found out."""

from pathlib import Path

import pytest
from drives import MadeDrive, made_drive
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.citations import Facts, citation_problems


@pytest.fixture(scope="module", params=["truck_oil_pressure", "car_bus_loss", "av_lidar_dropout"])
def drive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MadeDrive:
    return made_drive(Path(tmp_path_factory.mktemp(request.param)), request.param)


def test_all_that_the_evidence_cites_holds(drive: MadeDrive) -> None:
    facts = Facts.of(drive.events, drive.recordings)
    assert drive.evidence.items
    for item in drive.evidence.items:
        assert facts.problem(item.citation(), drive.evidence) is None
    assert citation_problems(drive.diagnosis, drive.evidence, facts) == []


@given(data=st.data())
def test_whatever_is_changed_in_a_citation_is_found_out(drive: MadeDrive, data) -> None:
    facts = Facts.of(drive.events, drive.recordings)
    item = data.draw(st.sampled_from(drive.evidence.items))
    cite = item.citation()
    begun = facts.frames[cite.code, cite.ecu, cite.recording]
    frames = st.integers(0, 10**6).filter(lambda n: n not in begun)
    change = data.draw(
        st.sampled_from(
            [
                {"item": "E99"}, {"code": "P9999"}, {"ecu": "somebody else"}, {"recording": "other.mf4"},
                {"recording_sha256": "0" * 12}, {"first_frame": data.draw(frames)}, {"last_frame": data.draw(frames)},
            ]
        )
    )  # fmt: skip
    assert facts.problem(cite.model_copy(update=change), drive.evidence)


def test_a_diagnosis_that_cites_what_is_not_there_is_told(drive: MadeDrive) -> None:
    facts = Facts.of(drive.events.clear(), drive.recordings)
    assert citation_problems(drive.diagnosis, drive.evidence, facts)
    cause = drive.diagnosis.root_causes[0].model_copy(update={"supports": ("E77",)})
    invented = drive.diagnosis.model_copy(update={"root_causes": (cause,)})
    whole = Facts.of(drive.events, drive.recordings)
    assert citation_problems(invented, drive.evidence, whole) == [f"{cause.cause}: no item E77"]
