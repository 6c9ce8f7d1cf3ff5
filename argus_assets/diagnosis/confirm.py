"""Confirming a diagnosis: what a person says of it becomes a case, the memory that later diagnoses read. Pure."""

from collections.abc import Mapping
from datetime import datetime

from argus_assets.diagnosis.case_files import CAUSE, near_misses
from argus_assets.diagnosis.model import Diagnosis, Evidence
from argus_assets.diagnosis.ports import Case
from argus_assets.diagnosis.retrieval import case_of
from argus_assets.diagnosis.vocabulary import UNEXPLAINED
from argus_assets.errors import BadSetting


def confirm(
    evidence: Evidence,
    diagnosis: Diagnosis,
    *,
    partition: str,
    recorded_at: datetime,
    titles: Mapping[str, str],
    now: datetime,
    cause: str | None = None,
    title: str | None = None,
    may_be_new: bool = False,
    by: str | None = None,
    fix: str | None = None,
    note: str | None = None,
) -> Case:
    """Return the case that a person makes of a diagnosis.

    Args:
        evidence: Of the batch.
        diagnosis: Of the batch.
        partition: Key of the batch.
        recorded_at: When the drive began.
        titles: Known causes: identifier → title.
        now: When the person confirms it.
        cause: Identifier of what it really was; `None` when the diagnosis was right.
        title: Of a new cause, in plain words.
        may_be_new: Accept a cause that is not known, if it has a title.
        by: Who confirms it.
        fix: What helped.
        note: Anything else. Free texts are stripped of VINs, positions and mail addresses.

    Raises:
        BadSetting: There is nothing to confirm, or the cause cannot be used.
    """
    if not evidence.items:
        raise BadSetting(
            f"Batch {partition} has no fault codes: a case of it would never be found.",
            help="Confirm batches whose diagnosis names a code.",
        )
    chosen, chosen_title = (
        _diagnosed_cause(diagnosis)
        if cause is None
        else _named_cause(cause, title, titles=titles, may_be_new=may_be_new)
    )
    return case_of(
        evidence,
        diagnosis,
        partition=partition,
        recorded_at=recorded_at,
        cause=chosen,
        title=chosen_title,
        confirmed_at=now.replace(microsecond=0),
        confirmed_by=by,
        fix=fix,
        note=note,
    )


def _diagnosed_cause(diagnosis: Diagnosis) -> tuple[str, str]:
    first = diagnosis.root_causes[0] if diagnosis.root_causes else None
    if first is None or first.cause.startswith(UNEXPLAINED):
        what = "names no cause" if first is None else f"knows no cause of {first.cause.removeprefix(UNEXPLAINED)}"
        raise BadSetting(f"The diagnosis {what}: there is nothing to confirm.", help="Say what it was with --cause.")
    return first.cause, first.title


def _named_cause(cause: str, title: str | None, *, titles: Mapping[str, str], may_be_new: bool) -> tuple[str, str]:
    if cause in titles:
        return cause, title or titles[cause]
    if CAUSE.fullmatch(cause) is None:
        raise BadSetting(
            f"{cause!r} cannot identify a cause: expected lower-case letters, digits and underscores, a letter first.",
            help="For example: loose_ground_strap.",
        )
    if not may_be_new or not title:
        near = near_misses(cause, titles)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise BadSetting(
            f"No cause is known as {cause!r}.",
            help=f"{meant}To name a new cause, add --new-cause --title 'in plain words'.",
        )
    return cause, title
