"""Citations: what the evidence cites is in the tables, and what is not in the tables is found out."""

from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis import citations
from argus_assets.diagnosis.citations import Facts, citation_problems
from argus_assets.diagnosis.redaction import redact
from tests.support.drives import MadeDrive, made_drive


@pytest.fixture(scope="module", params=["truck_oil_pressure", "car_bus_loss", "av_lidar_dropout"])
def drive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MadeDrive:
    return made_drive(Path(tmp_path_factory.mktemp(request.param)), request.param)


def begun_by_loop(events: pl.DataFrame) -> dict[tuple[str, str, str], set[int]]:
    """(code, ECU, recording), as the evidence names them, → frames that begin an activation: all of them redacted."""
    begun: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for code, ecu, recording, frame in events.select("code", "ecu", "recording", "frame").iter_rows():
        begun[redact(code), redact(ecu), recording].add(frame)
    return begun


@given(data=st.data())
def test_a_citation_holds_where_a_loop_over_all_activations_finds_it(drive: MadeDrive, data) -> None:
    begun = begun_by_loop(drive.events)
    frames = st.sampled_from(sorted({frame for found in begun.values() for frame in found})) | st.integers(0, 10**6)
    item = data.draw(st.sampled_from(drive.evidence.items))
    first, last = data.draw(frames), data.draw(frames)
    cite = item.citation().model_copy(update={"first_frame": first, "last_frame": last})
    holds = {first, last} <= begun[cite.code, cite.ecu, cite.recording]
    assert (Facts.of(drive.events, drive.recordings).problem(cite, drive.evidence) is None) == holds


def test_a_name_that_is_redacted_is_cited_by_what_is_left_of_it(drive: MadeDrive) -> None:
    ecu = "node of jane.doe@example.org"
    assert redact(ecu) != ecu
    item = drive.evidence.items[0].model_copy(update={"ecu": redact(ecu)})
    evidence = drive.evidence.model_copy(update={"items": (item,)})
    events = drive.events.with_columns(ecu=pl.lit(ecu))
    assert Facts.of(events, drive.recordings).problem(item.citation(), evidence) is None
    assert Facts.of(drive.events, drive.recordings).problem(item.citation(), evidence) is not None


def test_only_what_is_cited_is_redacted(drive: MadeDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    redacted: list[str] = []
    monkeypatch.setattr(citations, "redact", lambda text: redacted.append(text) or redact(text))
    many = drive.events.head(1).select(pl.all().repeat_by(5000).explode()).with_columns(
        code=pl.format("P{}", pl.int_range(5000)), frame=pl.int_range(5000).cast(pl.UInt64) + 10**6
    )  # fmt: skip
    facts = Facts.of(pl.concat([drive.events, many]), drive.recordings)
    assert facts.problem(drive.evidence.items[0].citation(), drive.evidence) is None
    assert len(redacted) < 100


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
    begun = begun_by_loop(drive.events)[cite.code, cite.ecu, cite.recording]
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
