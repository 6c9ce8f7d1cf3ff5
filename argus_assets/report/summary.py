"""A diagnosis in Markdown."""

from argus_assets.common.texts import markdown
from argus_assets.diagnosis.model import Diagnosis, Evidence

DRIVABLE = {"yes": "may be driven", "with_care": "drive with care", "no": "do not drive"}


def diagnosis_markdown(diagnosis: Diagnosis, evidence: Evidence) -> str:
    """Summarise a diagnosis for Dagster's metadata: verdict, causes with evidence, actions for the first."""
    lines = [
        _strong(diagnosis.verdict),
        "",
        f"{diagnosis.severity.value}, {DRIVABLE[diagnosis.drivable]}. {markdown(diagnosis.coverage)}",
        "",
    ]
    code_of = {item.id: markdown(f"{item.code} of {item.ecu}") for item in evidence.items}
    for number, cause in enumerate(diagnosis.root_causes, 1):
        lines += [
            f"{number}. {_strong(cause.title)} ({cause.confidence:.0%})",
            f"   {markdown(cause.explanation)}",
        ]
        lines += [f"   Evidence: {', '.join(code_of.get(i) or markdown(i) for i in cause.supports)}"]
        if number == 1:
            lines += [f"   - {text}" for action in cause.actions if (text := markdown(action))]
    lines += ["", f"*{diagnosis.mode}: {markdown(diagnosis.mode_reason)}*"]
    return "\n".join(lines)


def _strong(text: str) -> str:
    # Four asterisks with nothing between them would be a horizontal rule.
    return f"**{markdown(text) or 'none'}**"
