"""Random cases and queries: few codes, platforms and releases, so that they meet."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from argus_assets.diagnosis.ports import Case, CaseQuery, CodeCount

DAY0 = datetime(2026, 3, 1, tzinfo=UTC)
CODES = ("P0301", "P0351", "P0300", "U0100-87", "U0100-00", "U0100", "SPN100/FMI1", "SPN100/FMI3", "E101", "CAN_SILENT")
RELEASES = tuple(f"2026.{n}" for n in range(1, 13))

code_counts = st.lists(
    st.builds(
        CodeCount, code=st.sampled_from(CODES), ecu=st.sampled_from(["engine", "gateway"]), occurrences=st.integers(1, 500)
    ),
    min_size=1,
    max_size=6,
).map(tuple)  # fmt: skip
moments = st.integers(0, 100).map(lambda days: DAY0 + timedelta(days=days))


def case(number: int, *codes: str, **fields) -> Case:
    recorded_at = fields.pop("recorded_at", DAY0)
    return Case(
        **{
            "id": f"c{number}",
            "platform": "car",
            "release": "2026.4",
            "recorded_at": recorded_at,
            "codes": tuple(CodeCount(code=code) for code in codes),
            "cause": "catalyst_worn",
            "title": "Catalyst is worn",
            "confirmed_at": recorded_at + timedelta(days=1),
            **fields,
        }
    )


def query(*codes: str, **fields) -> CaseQuery:
    return CaseQuery(
        **{
            "codes": tuple(CodeCount(code=code) for code in codes),
            "platform": "car",
            "release": "2026.4",
            "at": DAY0 + timedelta(days=50),
            **fields,
        }
    )


@st.composite
def some_cases(draw: st.DrawFn, *, max_size: int = 40) -> list[Case]:
    made = []
    for number in range(draw(st.integers(0, max_size))):
        recorded_at = draw(moments)
        made.append(
            case(
                number,
                partition=draw(st.sampled_from([None, f"2026-03-01_v_{number}", "2026-03-01_v_same"])),
                platform=draw(st.sampled_from(["car", "truck"])),
                release=draw(st.sampled_from(RELEASES)),
                recorded_at=recorded_at,
                codes=draw(code_counts),
                cause=draw(st.sampled_from(["catalyst_worn", "vacuum_leak"])),
                confirmed_at=recorded_at + timedelta(days=draw(st.integers(0, 5))),
            )
        )
    return made


queries = st.builds(
    CaseQuery,
    codes=code_counts,
    platform=st.sampled_from(["car", "truck"]),
    release=st.sampled_from((*RELEASES, "unheard of")),
    at=moments,
    exclude_partition=st.sampled_from([None, "2026-03-01_v_same"]),
)
