"""Verdicts and figures of documented drives, by hand; and what the command refuses."""

from math import log
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from argus_assets.diagnosis.model import Diagnosis, RootCause
from argus_assets.faults.schema import Severity
from evals import story_report
from evals.__main__ import main
from evals.scores import Share
from evals.story import Story, load_stories
from evals.story_run import answers
from evals.story_scores import (
    StoryAnswer,
    area,
    calibration_error,
    equal_bins,
    judge,
    risk_coverage_area,
    score,
    with_bootstrap,
)

ROOT = ("unexplained_code:SPN110/FMI3", "Coolant temperature", 0.1)
OTHER = ("unexplained_code:SPN639/FMI9", "Network", 0.1)
RIGHT = ("shared_return", "Open return of three sensors", 0.7)
PARTIAL = ("engine_wiring", "Harness", 0.4)
MISLED = ("coolant_temperature_sensor", "Coolant temperature sensor", 0.8)
VAGUE = ("something", "Something else", 0.3)
NONE_NEEDED = ("no_repair:history", "Nothing to repair: codes of the past", 0.9)


def story(**more) -> Story:
    given = {
        "source": "A maker's bulletin, number 1", "source_key": "maker-bulletin-1", "grade": "A", "platform": "truck",
        "kind": "fault", "title": "A story that is only an example", "cause": "A return that is shared.",
        "accept": ("(shared|common) return", "sensor"), "partial": ("wiring",), "wrong": ("coolant.temp",),
        "root": ("SPN110/*",), "severity": ("warning", "error"), "drivable": ("with_care",),
        "trouble": ({"at": 1, "unit": 0, "spn": 110, "fmi": 3},),
    }  # fmt: skip
    return Story.model_validate({**given, **more})


def healthy(**more) -> Story:
    return story(**{"kind": "healthy", "accept": (), "root": (), "partial": (), "wrong": (), **more})


def diagnosis(*causes: tuple[str, str, float], severity: str = "error", drivable: str = "with_care") -> Diagnosis:
    return Diagnosis(
        mode="offline", mode_reason="", coverage="", verdict="", severity=Severity(severity), drivable=drivable,
        root_causes=tuple(
            RootCause(cause=cause, title=title, explanation="", confidence=confidence, supports=("E1",))
            for cause, title, confidence in causes
        ),
        evidence_key="", knowledge_version="",
    )  # fmt: skip


def judged(told: Story, *causes: tuple[str, str, float], **more) -> StoryAnswer:
    return judge("truck/a", told, diagnosis(*causes, **more), {"E1": "SPN3719/FMI0"})


@pytest.mark.parametrize(
    ("causes", "verdict", "top_3"),
    [
        ((RIGHT,), "right", True),
        ((PARTIAL, RIGHT), "partial", True),
        ((MISLED,), "wrong", False),  # it matches `accept` as well: "sensor"
        ((VAGUE, VAGUE, VAGUE, RIGHT), "wrong", False),
        ((ROOT, RIGHT), "honest", True),
        ((OTHER, ROOT), "codes only", False),
        ((NONE_NEEDED,), "wrong", False),
        ((), "silent", False),
    ],
)
def test_verdict_of_a_fault(causes: tuple, verdict: str, top_3: bool) -> None:
    answer = judged(story(), *causes)
    assert (answer.verdict, answer.top_3) == (verdict, top_3)
    assert answer.confidently_wrong == (verdict == "wrong" and causes[0][2] >= 0.6)


def test_words_of_an_identifier_are_matched_without_underscores_too() -> None:
    assert judged(story(), ("common_return", "x", 0.5)).right
    assert judged(story(accept=("common_return$",)), ("common_return", "", 0.5)).verdict == "wrong", "ids stand first"
    assert judged(story(accept=("SHARED",)), ("shared_x", "", 0.5)).right, "in any case"


def test_minutes_are_of_the_right_cause_wherever_it_stands() -> None:
    """Without checks the search follows; it is told whether the answer holds the right cause, below the third as well."""
    for causes, held in (
        ((RIGHT,), True),
        ((VAGUE, VAGUE, VAGUE, RIGHT), True),
        ((MISLED, PARTIAL), False),
        ((), False),
    ):
        minutes = judged(story(), *causes).minutes
        assert minutes is not None
        assert (minutes.listed, minutes.is_held) == (60, held)
    two = story(kind="two_faults", all_of=("return", "network|bus"))
    half, both = judged(two, RIGHT).minutes, judged(two, RIGHT, ("can_bus", "Bus", 0.2)).minutes
    assert half is not None
    assert both is not None
    assert (half.is_held, both.is_held) == (False, True)
    assert judged(healthy(), MISLED).minutes is None, "nothing to repair"


def test_two_faults_are_to_be_among_the_first_three() -> None:
    two = story(kind="two_faults", all_of=("return", "network|bus"))
    assert not judged(two, RIGHT).top_3
    assert judged(two, RIGHT, VAGUE, ("can_bus", "Bus", 0.2)).top_3
    assert not judged(two, RIGHT, VAGUE, VAGUE, ("can_bus", "Bus", 0.2)).top_3


@pytest.mark.parametrize(
    ("causes", "more", "verdict"),
    [
        ((), {"severity": "info", "drivable": "yes"}, "right"),
        ((MISLED,), {"severity": "warning"}, "names a fault"),
        ((VAGUE,), {"severity": "warning"}, "right"),
        (((*ROOT[:2], 0.9), NONE_NEEDED), {"severity": "warning"}, "right"),
        ((), {"severity": "error"}, "false alarm"),
        ((MISLED,), {"severity": "critical"}, "false alarm"),
        ((), {"severity": "info", "drivable": "no"}, "false alarm"),
    ],
)
def test_verdict_without_a_fault(causes: tuple, more: dict, verdict: str) -> None:
    for kind in ("healthy", "repaired", "misleading"):
        assert judged(healthy(kind=kind), *causes, **more).verdict == verdict
    assert judged(story(kind="misleading"), RIGHT).verdict == "right", "a misleading drive may have a fault"


def test_figures_by_hand() -> None:
    told = [
        judged(story(), RIGHT), judged(story(), MISLED), judged(story(), ROOT), judged(story(), PARTIAL, RIGHT),
        judged(healthy(), severity="info", drivable="yes"), judged(healthy(), MISLED, severity="critical"),
    ]  # fmt: skip
    s = score(told)
    assert (s.top_1, s.top_3, s.honest, s.partial) == (Share(1, 4), Share(2, 4), Share(1, 4), Share(1, 4))
    assert (s.wrong, s.confidently_wrong, s.false_alarms, s.claims) == (
        Share(1, 4),
        Share(1, 4),
        Share(1, 2),
        Share(1, 2),
    )
    assert s.severity == Share(4, 6)
    assert s.drivable == Share(5, 6)
    # Named: 0.7 right, 0.8 wrong, 0.4 wrong.
    assert s.brier == pytest.approx((0.3**2 + 0.8**2 + 0.4**2) / 3)
    assert s.log_loss == pytest.approx(-(log(0.7) + log(0.2) + log(0.6)) / 3)
    assert s.ece == pytest.approx((0.3 + 0.8 + 0.4) / 3)
    assert s.aurc == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)
    # None has checks: each faulty one is searched for an hour, in whatever order.
    assert (s.ecr, s.ecr_by_chance, s.ecr_by_chance_per_minute, s.ecr_held) == (60, 60, 60, 60)
    assert (s.saved_to_chance, s.saved_to_chance_per_minute) == (0, 0)
    # The root is one of cooling: one of four is found; wrong ones speak of the particulate filter.
    assert s.macro_f1 == pytest.approx(2 / (2 + 3))


@pytest.mark.parametrize(("hits", "of", "low", "high"), [(14, 55, 0.158, 0.383), (40, 67, 0.477, 0.706)])
def test_intervals_are_wilsons(hits: int, of: int, low: float, high: float) -> None:
    assert Share(hits, of).interval == pytest.approx((low, high), abs=5e-4)


def test_bins_have_equal_counts_and_equal_confidences_share_their_risk() -> None:
    named = [(n / 40, n % 2 == 0) for n in range(40)]
    assert [count for count, _, _ in equal_bins(named)] == [4] * 10
    assert calibration_error([(0.9, True)] * 9 + [(0.9, False)]) == pytest.approx(0.18)  # bins of one each
    assert risk_coverage_area([(0.5, True), (0.5, False)]) == risk_coverage_area([(0.5, False), (0.5, True)]) == 0.5
    assert risk_coverage_area([]) is calibration_error([]) is None


def test_bootstrap_draws_sources_not_drives() -> None:
    twins = [judged(story(source_key="one"), RIGHT)] * 30 + [judged(story(source_key="two"), MISLED)] * 30
    apart = [judged(story(source_key=f"key-{n}"), RIGHT if n < 30 else MISLED) for n in range(60)]
    assert with_bootstrap(twins).intervals["top-1"] == (0, 1)
    low, high = with_bootstrap(apart).intervals["top-1"]
    assert 0.3 < low < 0.45 < 0.55 < high < 0.7
    assert with_bootstrap(apart) == with_bootstrap(apart)


@pytest.mark.parametrize(
    ("platform", "code", "wanted"),
    [
        ("truck", "SPN2003/FMI9", "truck: network"), ("truck", "SPN110/*", "truck: cooling"),
        ("truck", "SPN100/FMI1", "truck: engine"), ("car", "P0A0C*", "car: hybrid"), ("car", "P0301", "car: ignition"),
        ("car", "CAN_BUSOFF", "car: network"), ("av", "DIAG_VELODYNE_TOPIC_STATUS", "av: perception"),
        ("av", "SPN168/FMI1", "av: electrical"), ("car", "OBD_MIL", "car: other"),
    ],
)  # fmt: skip
def test_areas(platform: str, code: str, wanted: str) -> None:
    assert area(platform, code) == wanted


def test_splits_never_change_and_twins_stay_together() -> None:
    keys = ("detroit-ddec6-guide-29.3", "maker-bulletin-1", "one", "key-7")
    assert [story(source_key=key).split for key in keys] == ["sealed", "sealed", "train", "train"]
    for of_key in story_report.by(_answers(), lambda a: a.story.source_key).values():
        assert len({a.story.split for a in of_key}) == 1


def _answers() -> list[StoryAnswer]:
    return [judged(told, VAGUE) for told in load_stories().values()]


def test_sealed_stories_are_opened_on_purpose_and_never_shown(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["stories", "--split", "sealed"])
    assert refused.exit_code == 2
    assert "--open-sealed" in refused.output
    refused = CliRunner().invoke(main, ["stories", "--split", "sealed", "--open-sealed", "--show-failures"])
    assert refused.exit_code == 2
    sealed = next(told for n in range(100) if (told := story(source_key=f"key-{n}")).split == "sealed")
    answer = judged(sealed, MISLED)
    with pytest.raises(ValueError, match="sealed"):
        story_report.show_failures(Console(), [answer])
    story_report.write_json(tmp_path / "a.json", [answer])
    assert "truck/a" not in (tmp_path / "a.json").read_text()


def test_record_rewrites_the_splits_that_were_run(tmp_path: Path) -> None:
    page = tmp_path / "evals.md"
    page.write_text("# Evals\n\nWords.\n\n<!-- history -->\n\n| 2 |\n")
    by_split = {
        told.split: judged(told, RIGHT) for n in range(60) for told in [story(source_key=f"key-{n}")]
    }  # fmt: skip
    story_report.record([by_split["train"], by_split["test"]], page)
    before = page.read_text()
    assert before.startswith("# Evals\n\nWords.")
    assert before.endswith("<!-- history -->\n\n| 2 |\n")
    assert "### Train" in before
    assert "What remains wrong" in before
    assert (tmp_path / "images" / story_report.PLOT).exists()
    story_report.record([by_split["sealed"]], page)
    after = page.read_text()
    assert "### Sealed: 1 stories of 1 sources" in after
    assert "truck/a" not in after
    assert before.partition("<!-- end of documented drives -->")[0] in after
    story_report.record([by_split["train"], by_split["test"]], page)
    assert page.read_text() == after


def test_answers_are_made_from_what_was_kept(tmp_path: Path) -> None:
    told = {"truck/a": story(trouble=({"at": 3, "unit": 0, "spn": 110, "fmi": 3},), seconds=30)}
    (first,) = answers(told, tmp_path, processes=1)
    kept = list(tmp_path.rglob("*.pickle"))
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    (second,) = answers(told, tmp_path, processes=1)
    assert second == first
    assert [p.stat().st_mtime_ns for p in tmp_path.rglob("*.pickle")] == [stamp]
