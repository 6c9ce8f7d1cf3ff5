"""Rules of retrieval: who may be found, in which order, and what the found ones vote for."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.diagnosis.model import SimilarCase
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.ports import CaseQuery, ConfirmedPrediction
from argus_assets.diagnosis.releases import release_key
from argus_assets.diagnosis.retrieval import (
    MIN_RECENCY,
    MemoryCaseStore,
    batch_name,
    case_of,
    case_query,
    case_text,
    causes_of,
    is_visible,
    nearby,
    recency_weight,
)
from argus_assets.diagnosis.vectors import features
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from tests.support.case_data import DAY0, RELEASES, case, queries, query, some_cases
from tests.support.diagnosis_evidence import evidence, item

VIN = "1M8GDM9AXKP042788"


def similar_case(cause: str, weight: float) -> SimilarCase:
    return SimilarCase(
        id=f"{cause}{weight}", cause=cause, title=cause, platform="car", release="1", similarity=weight, weight=weight,
        shared_codes=(), confirmed_on=DAY0.date(),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- recency, releases, votes


@given(st.floats(-100, 10_000), st.floats(-100, 10_000))
def test_an_older_case_never_counts_more(one: float, other: float) -> None:
    young, old = sorted((one, other))
    assert 1 >= recency_weight(young) >= recency_weight(old) >= MIN_RECENCY


def test_six_in_a_hundred_of_the_excess_is_left_after_twenty_days() -> None:
    assert recency_weight(0) == 1
    assert (recency_weight(20) - MIN_RECENCY) / (1 - MIN_RECENCY) == pytest.approx(0.0625)


@given(st.sampled_from(RELEASES), st.sets(st.sampled_from(RELEASES)))
def test_near_releases_are_the_three_before_and_after(release: str, others: set[str]) -> None:
    near = nearby(release, others)
    before = sorted((r for r in others if release_key(r) < release_key(release)), key=release_key)
    after = sorted((r for r in others if release_key(r) > release_key(release)), key=release_key)
    assert near == {*before[-3:], *after[:3], *({release} & others)}


def test_two_spellings_of_a_release_are_one() -> None:
    assert nearby("2026.09", {"2026.9", "v2026.09"}) == {"2026.9", "v2026.09"}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 1)), min_size=1))
def test_votes_add_up_and_the_most_come_first(votes: list[tuple[str, float]]) -> None:
    shares = causes_of([similar_case(*vote) for vote in votes])
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert [share for _, share in shares] == sorted((share for _, share in shares), reverse=True)
    for cause, share in shares:
        assert share == pytest.approx(sum(w for c, w in votes if c == cause) / sum(w for _, w in votes))


def test_nobody_votes_for_nothing() -> None:
    assert causes_of([]) == []
    assert causes_of([similar_case("a", 0.0)]) == []


# ------------------------------------------------------------------------------------------- the store


@given(some_cases(), queries, st.integers(1, 6))
def test_only_visible_cases_that_share_a_code_are_found(cases, asked: CaseQuery, limit: int) -> None:
    by_id = {c.id: c for c in cases}
    found = MemoryCaseStore(cases).similar(asked, limit=limit)
    assert len(found) <= limit
    assert [s.weight for s in found] == sorted((s.weight for s in found), reverse=True)
    for similar in found:
        case = by_id[similar.id]
        assert case.platform == asked.platform
        assert case.confirmed_at <= asked.at
        assert asked.exclude_partition is None or case.partition != asked.exclude_partition
        assert similar.shared_codes
        assert set(similar.shared_codes) <= features(case.codes).keys() & features(asked.codes).keys()
        assert 0 <= similar.weight <= similar.similarity <= 1


@given(some_cases(), queries)
def test_what_was_confirmed_later_changes_nothing(cases, asked: CaseQuery) -> None:
    known = [c for c in cases if c.confirmed_at <= asked.at]
    idf = MemoryCaseStore(cases).idf()
    assert MemoryCaseStore(known, idf=idf).search(asked) == MemoryCaseStore(cases, idf=idf).search(asked)


@given(some_cases(), queries)
def test_a_near_release_is_left_only_for_lack_of_similar_cases(cases, asked: CaseQuery) -> None:
    found = MemoryCaseStore(cases).search(asked, limit=3)
    if found.scope == "near releases":
        visible = [c for c in cases if is_visible(c, asked)]
        assert {s.release for s in found.cases} <= nearby(asked.release, {c.release for c in visible})
        assert sum(s.similarity >= 0.5 for s in found.cases) == 3


def test_the_same_codes_under_an_old_release_beat_few_shared_ones_under_this() -> None:
    far = [case(n, "P0301", "P0351", release="2025.1") for n in range(3)]
    near = [case(10 + n, "P0301", "C0035", "C0040", "C0045", "C0050", "P0562", "P0128") for n in range(5)]
    ahead = [case(20 + n, "P0999", release=f"2026.{n}") for n in range(1, 8)]
    found = MemoryCaseStore([*far, *near, *ahead]).search(query("P0301", "P0351"), limit=3)
    assert found.scope == "all releases"
    assert [s.release for s in found.cases] == ["2025.1"] * 3


def test_of_two_alike_the_recent_one_comes_first() -> None:
    cases = [case(1, "P0420"), case(2, "P0420", recorded_at=DAY0 + timedelta(days=45))]
    assert [s.id for s in MemoryCaseStore(cases).similar(query("P0420"))] == ["c2", "c1"]


def test_a_case_is_replaced_by_its_id_and_removed_by_it() -> None:
    store = MemoryCaseStore([case(1, "P0420"), case(1, "P0420", cause="oxygen_sensor")])
    assert [s.cause for s in store.similar(query("P0420"))] == ["oxygen_sensor"]
    assert store.remove("c1")
    assert not store.remove("c1")
    assert store.similar(query("P0420")) == ()


def test_shared_codes_name_the_component_where_failure_types_differ() -> None:
    found = MemoryCaseStore([case(1, "U0100-00", "P0301", "U0101-87")])
    assert found.similar(query("P0301", "U0100-87", "U0101-87"))[0].shared_codes == ("P0301", "U0101-87", "U0100")


def test_a_drive_without_codes_finds_nothing() -> None:
    assert MemoryCaseStore([case(1, "P0420")]).similar(query()) == ()


def test_cases_of_a_signature_come_newest_first() -> None:
    cases = [
        case(n, "P0420", signature=s, platform=p, recorded_at=DAY0 + timedelta(days=n))
        for n, (s, p) in enumerate([("a", "car"), ("a", "car"), ("b", "car"), ("a", "truck"), ("", "car")])
    ]
    store = MemoryCaseStore(cases)
    assert [c.id for c in store.with_signature("a", platform="car")] == ["c1", "c0"]
    assert store.with_signature("", platform="car") == []


def test_outcomes_are_the_predictions_that_were_confirmed_or_corrected() -> None:
    cases = [
        case(1, "P0420", predicted_cause="catalyst_worn", predicted_confidence=0.8, predicted_mode="offline"),
        case(2, "P0420", predicted_cause="oxygen_sensor", predicted_confidence=0.4, predicted_mode="llm"),
        case(3, "P0420"),
    ]
    assert MemoryCaseStore(cases).outcomes() == [
        ConfirmedPrediction("offline", 0.8, True, "catalyst_worn"),
        ConfirmedPrediction("llm", 0.4, False, "oxygen_sensor"),
    ]


# ------------------------------------------------------------------------------------------- cases of batches


def test_a_case_keeps_what_was_seen_and_said_and_nothing_personal() -> None:
    seen = evidence(item(1, "SPN100/FMI1"), item(2, "SPN1569/FMI31", ecu="retarder"))
    said = diagnose_offline(seen, load_catalogue())
    made = case_of(
        seen, said, partition=f"2026-03-01_{VIN}_b1", recorded_at=DAY0, cause="engine_oil_pressure_sensor",
        title="Sensor", confirmed_at=DAY0, confirmed_by="a.b@example.org", fix=f"new sensor in {VIN}",
        note="at 48.137154, 11.576124",
    )  # fmt: skip
    assert [(c.code, c.ecu) for c in made.codes] == [("SPN100/FMI1", "engine"), ("SPN1569/FMI31", "retarder")]
    assert (made.predicted_cause, made.predicted_mode) == ("engine_oil_pressure_low", "offline")
    assert made.predicted_confidence == said.root_causes[0].confidence
    text = made.model_dump_json()
    assert VIN not in text
    assert "48.137" not in text
    assert "example.org" not in text
    assert made.id == made.partition == batch_name(f"2026-03-01_{VIN}_b1")
    again = case_query(seen, DAY0 + timedelta(days=2), f"2026-03-01_{VIN}_b1")
    assert MemoryCaseStore([made]).similar(again) == (), "a batch does not find itself, under its digest either"
    other = case_query(seen, DAY0 + timedelta(days=2), f"2026-03-01_{VIN}_b2")
    assert [s.id for s in MemoryCaseStore([made]).similar(other)] == [made.id]


def test_a_partition_without_a_vin_is_kept_as_it_is() -> None:
    assert batch_name("2026-03-01_truck-7_20260301T101500Z") == "2026-03-01_truck-7_20260301T101500Z"


def test_the_text_for_a_model_is_codes_and_their_meaning_alone() -> None:
    codes = evidence(item(1, "P0301", ecu="secret node"), item(2, "P0301"), item(3, "P0420"))
    text = case_text(case_query(codes, DAY0, None).codes, lambda code: f"meaning of {code}")
    assert text == "P0301: meaning of P0301\nP0420: meaning of P0420"
