"""Checks that hold for every diagnosis, whoever made it."""

from argus_assets.diagnosis.model import Diagnosis, Evidence


def cited_ids_exist(diagnosis: Diagnosis, evidence: Evidence) -> list[str]:
    """Evidence ids that a diagnosis cites and that do not exist; empty when all do."""
    known = {item.id for item in evidence.items}
    cited = [i for cause in diagnosis.root_causes for i in (*cause.supports, *cause.contradicts)]
    return sorted({i for i in cited if i not in known})
