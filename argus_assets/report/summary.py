"""A diagnosis in Markdown and in a few lines of text."""

import re

from argus_assets.diagnosis.model import Diagnosis, Evidence

DRIVABLE = {"yes": "may be driven", "with_care": "drive with care", "no": "do not drive"}


def diagnosis_markdown(diagnosis: Diagnosis, evidence: Evidence) -> str:
    """For Dagster's metadata: verdict, causes with evidence, actions of the first."""
    lines = [
        f"**{_plain(diagnosis.verdict)}**",
        "",
        f"{diagnosis.severity.value}, {DRIVABLE[diagnosis.drivable]}. {diagnosis.coverage}",
        "",
    ]
    code_of = {item.id: f"{item.code} of {_plain(item.ecu)}" for item in evidence.items}
    for number, cause in enumerate(diagnosis.root_causes, 1):
        lines += [f"{number}. **{_plain(cause.title)}** ({cause.confidence:.0%})", f"   {_plain(cause.explanation)}"]
        lines += [f"   Evidence: {', '.join(code_of.get(i, i) for i in cause.supports)}"]
        if number == 1:
            lines += [f"   - {_plain(action)}" for action in cause.actions]
    lines += ["", f"*{diagnosis.mode}: {_plain(diagnosis.mode_reason)}*"]
    return "\n".join(lines)


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """For the terminal: the verdict, then up to three causes."""
    lines = [f"{diagnosis.severity.value}, {DRIVABLE[diagnosis.drivable]}: {diagnosis.verdict}"]
    lines += [f"{cause.confidence:>4.0%}  {cause.title}" for cause in diagnosis.root_causes[:3]]
    return lines


def _plain(text: str) -> str:
    """Text of strangers, so that it is not taken for markup."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text.replace("\n", " "))
