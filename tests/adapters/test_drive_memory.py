"""The memory of drives counts what a list of them would."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argus_assets.adapters.postgres.database import Database
from argus_assets.adapters.postgres.drives import PostgresDriveMemory
from argus_assets.diagnosis.model import History, ItemHistory
from argus_assets.diagnosis.ports import DriveFacts, Past
from argus_assets.diagnosis.releases import previous_release

T0 = datetime(2026, 6, 1, tzinfo=UTC)
WINDOW = 90

drives = st.lists(
    st.builds(
        lambda vehicle, platform, release, day, codes: (vehicle, platform, release, day, codes),
        st.sampled_from(["v1", "v2", "v3"]), st.sampled_from(["car", "truck"]),
        st.sampled_from(["2026.9", "2026.10", "2026.11"]), st.integers(0, 130),
        st.lists(st.sampled_from([("P0301", "engine"), ("P0301", "body"), ("U0100", "body")]), max_size=3, unique=True),
    ),
    min_size=1, max_size=14,
)  # fmt: skip


def facts(number: int, drive) -> DriveFacts:
    vehicle, platform, release, day, codes = drive
    return DriveFacts(
        partition=f"p{number:02d}", vehicle_id=vehicle, platform=platform, release=release,
        recorded_from=T0 + timedelta(days=day), recorded_h=1.0, manifest_digest="d",
        faults=tuple((code, ecu, "active", "error", 2) for code, ecu in codes),
    )  # fmt: skip


def by_hand(all_drives: list[DriveFacts], now: DriveFacts) -> Past:
    """The same by loops."""
    earlier = [
        d for d in all_drives
        if (d.recorded_from, d.partition) < (now.recorded_from, now.partition)
        and d.recorded_from >= now.recorded_from - timedelta(days=WINDOW)
    ]  # fmt: skip
    mine = sorted((d for d in earlier if d.vehicle_id == now.vehicle_id), key=lambda d: (d.recorded_from, d.partition))
    others = [d for d in earlier if d.vehicle_id != now.vehicle_id and d.platform == now.platform]
    before = previous_release(now.release, {d.release for d in earlier if d.platform == now.platform})
    items = {}
    for fault in now.faults:
        key = fault[:2]

        def has(drive: DriveFacts, key=key) -> bool:
            return key in {f[:2] for f in drive.faults}

        had = [d for d in mine if has(d)]
        items[key] = ItemHistory(
            vehicle=None if not mine else "new" if not had else "recurring" if has(mine[-1]) else "back",
            vehicle_drives_with=len(had),
            days_since_last=(now.recorded_from - had[-1].recorded_from).total_seconds() / 86_400 if had else None,
            release_drives_with=sum(has(d) for d in others if d.release == now.release),
            previous_release_drives_with=sum(has(d) for d in others if d.release == before),
            vehicles_with=len({d.vehicle_id for d in others if has(d)}),
        )
    counts = History(
        window_days=WINDOW, vehicle_drives=len(mine), release_drives=sum(d.release == now.release for d in others),
        previous_release=before, previous_release_drives=sum(d.release == before for d in others),
    )  # fmt: skip
    return Past(counts, items)


@pytest.fixture
def memory(database_url: str) -> PostgresDriveMemory:
    return PostgresDriveMemory(Database(database_url))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drives, st.data())
def test_it_counts_as_a_list_would(memory, database_url, made, data) -> None:
    with Database(database_url).transaction() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE argus.drives CASCADE")
    known = [facts(n, d) for n, d in enumerate(made)]
    for drive in data.draw(st.permutations(known)):
        memory.remember(drive)
    for drive in known:
        assert memory.past(drive, window_days=WINDOW) == by_hand(known, drive)


def test_a_drive_is_kept_once_and_can_be_forgotten(memory) -> None:
    first = facts(1, ("v1", "car", "1", 0, [("P0301", "engine")]))
    later = facts(2, ("v1", "car", "1", 1, [("P0301", "engine")]))
    memory.remember(first)
    memory.remember(first)
    assert memory.past(later).items["P0301", "engine"].vehicle == "recurring"
    memory.remember(facts(1, ("v1", "car", "1", 0, [])))
    assert memory.past(later).items["P0301", "engine"].vehicle == "new"
    memory.forget("p01")
    assert memory.past(later).history.vehicle_drives == 0


def test_a_code_or_ecu_with_nul_is_remembered_and_looked_up(database_url: str) -> None:
    """PostgreSQL has no NUL: one in a name of a vehicle must not fail its batch."""
    memory = PostgresDriveMemory(Database(database_url))
    for number, day in enumerate((0, 1)):
        drive = facts(number, ("v1", "car", "2026.9", day, [("LOG_\0X", "/no\0de\ud800"), ("P0301", "engine")]))
        past = memory.past(drive)
        memory.remember(drive)
    assert past.items["P0301", "engine"].vehicle_drives_with == 1
