"""Remarks and topics as evidence: they support causes, end complaints, and are no faults themselves."""

import pytest

from argus_assets.diagnosis.model import Evidence, EvidenceItem, Remark, TopicSeen
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.remarks import stopped_at
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.diagnosis.vehicle.findings import signs, with_recoveries
from argus_assets.faults.dictionary.lookup import describe
from tests.support.diagnosis_evidence import evidence, item

CATALOGUE = load_catalogue()


def logged(message: str, node: str = "lidar_driver", at: float = 40.0) -> EvidenceItem:
    return item(1, "LOG_X", ecu=node, at=at).model_copy(
        update={"source": "ros_log", "status": "occurred", "state": "moment", "message": message, "active_s": 0.0}
    )


def remark(message: str, node: str = "kernel", at: float = 38.0, level: str = "warning") -> Remark:
    return Remark.model_validate(
        {"id": "R1", "level": level, "node": node, "message": message, "entries": 1, "first_s": at, "last_s": at}
    )


def drive(*items: EvidenceItem, remarks: tuple[Remark, ...] = (), topics: tuple[TopicSeen, ...] = ()) -> Evidence:
    return evidence(*items).model_copy(update={"platform": "av", "remarks": remarks, "topics": topics})


def confidence(made: Evidence, cause: str) -> float:
    found = diagnose_offline(made, CATALOGUE).root_causes
    return next((c.confidence for c in found if c.cause == cause), 0.0)


def test_a_warning_supports_the_cause_that_it_tells_of() -> None:
    lost = logged("connection lost")
    told = drive(lost, remarks=(remark("Under-voltage detected! (0x00050005)"),))
    assert confidence(told, "computer_power_dips") > confidence(drive(lost), "computer_power_dips")
    answer = diagnose_offline(told, CATALOGUE)
    cause = next(c for c in answer.root_causes if c.cause == "computer_power_dips")
    assert "Under-voltage detected!" in cause.explanation
    assert cause.supports == ("E1",), "only faults can be cited"


def test_warnings_alone_are_no_fault() -> None:
    answer = diagnose_offline(drive(remarks=(remark("Under-voltage detected!"), remark("out of memory"))), CATALOGUE)
    assert answer.root_causes == ()
    assert answer.severity == "info"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([("user interrupted with ctrl-c (SIGINT)", 80.0)], 80.0),
        ([("signal_handler(signum=2)", 80.0), ("process started with pid [7]", 90.0)], None),
        ([("process started with pid [7]", 1.0), ("signal_handler(signum=15)", 80.0)], 80.0),
        ([("ready", 3.0)], None),
    ],
)
def test_a_stop_is_the_last_one_without_a_start_behind_it(
    texts: list[tuple[str, float]], expected: float | None
) -> None:
    assert stopped_at([remark(text, at=at, level="info") for text, at in texts]) == expected


def topic(name: str, first: float, last: float, *, pause: tuple[float, float] | None = None) -> TopicSeen:
    return TopicSeen(
        topic=name, messages=400, first_s=first, last_s=last, period_s=0.1,
        pause_from_s=pause[0] if pause else first, pause_s=pause[1] if pause else 0.12,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "seen", "is_over"),
    [
        (41.0, topic("/lidar/points", 0.0, 59.0, pause=(40.0, 5.0)), True),
        (3.0, topic("/lidar/points", 4.0, 59.0), True),
        (41.0, topic("/lidar/points", 0.0, 59.0), False),
        (41.0, topic("/lidar/points", 0.0, 40.0), False),
        (41.0, topic("/camera/image_raw", 0.0, 59.0, pause=(40.0, 5.0)), False),
    ],
)
def test_a_loss_is_over_where_its_topic_comes_back(at: float, seen: TopicSeen, *, is_over: bool) -> None:
    made = with_recoveries(
        drive(logged("no packets received", at=at), topics=(seen, topic("/tf", 0.0, 59.5))), CATALOGUE, describe
    )
    assert (made.items[0].state == "ended") is is_over


def test_a_topic_that_ends_early_supports_the_loss_of_its_component() -> None:
    died = logged("process has died", node="perception")
    silent = drive(died, topics=(topic("/lidar/points", 0.0, 30.0), topic("/tf", 0.0, 59.5)))
    lost = [sign for sign in signs(silent, CATALOGUE, describe) if sign.remark is not None]
    assert [(sign.component.id, sign.failure, sign.onset) for sign in lost] == [("lidar", "no_signal", 30.0)]
    going_on = drive(died, topics=(topic("/lidar/points", 0.0, 57.0), topic("/tf", 0.0, 59.5)))
    assert all(sign.remark is None for sign in signs(going_on, CATALOGUE, describe))


def test_a_warning_that_data_contradict_counts_for_nothing() -> None:
    diverged = logged("pose diverged", node="localization")
    said = remark("no points received", node="lidar_driver", at=30.0)
    flows = drive(diverged, remarks=(said,), topics=(topic("/lidar/points", 0.0, 59.0),))
    assert confidence(flows, "lidar_sensor_connection") == 0.0
    assert any(sign.remark for sign in signs(drive(diverged, remarks=(said,)), CATALOGUE, describe))


def test_stamps_far_apart_are_of_two_clocks() -> None:
    text = (
        "Lookup would require extrapolation into the future.  Requested time {} but the latest data is at time {}, when"
    )
    found = {
        apart: next(iter(signs(drive(logged(text.format(*apart), node="mapper")), CATALOGUE, describe)))
        for apart in [
            ("1574652168.590749000", "3.235"),
            ("1594895008.39", "1594895008.34"),
            ("1594895028.39", "1594895008.34"),
        ]
    }
    assert [(s.component.id, s.failure) for s in found.values()] == [
        ("clock", "time_offset"),
        ("transforms", "transform"),
        ("clock_sync", "time_offset"),
    ]


def test_a_launcher_speaks_of_the_process_that_ended() -> None:
    line = "[component_container_mt-27]: process has died [pid 1, exit code -11, cmd 'c --ros-args -r __node:=behavior_planning_container']"
    (sign,) = signs(drive(logged(line, node="launch")), CATALOGUE, describe)
    assert (sign.component.id, sign.failure) == ("planner", "dead")


def test_the_first_finding_of_a_cause_is_no_evidence_of_time() -> None:
    """A lone finding makes its cause no surer because its onset was seen: when the cause began is known from nothing else."""
    seen = drive(item(1, "SPN110/FMI0"))
    read = drive(item(1, "SPN110/FMI0").model_copy(update={"onset_seen": False}))
    by_cause = [{c.cause: c.confidence for c in diagnose_offline(made, CATALOGUE).root_causes} for made in (seen, read)]
    assert by_cause[0] == by_cause[1]
