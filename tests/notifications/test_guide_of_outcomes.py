"""`docs/outcomes.md`: what it shows is what is sent, and its commands verify what is signed."""

import json
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cloudevents.http import from_json

from argus_assets.notifications.alerts import AlertRules
from argus_assets.notifications.delivery import PAUSES, schedule
from argus_assets.notifications.events import DATA, NAMES, envelope, example_alert
from argus_assets.notifications.signatures import body_of, headers_of
from tests.support.webhook_receiver import OTHER_SECRET, SECRET

GUIDE = (Path(__file__).parents[2] / "docs" / "outcomes.md").read_text()


def blocks(language: str) -> list[str]:
    return [block.partition("```")[0] for block in GUIDE.split(f"```{language}\n")[1:]]


def test_each_event_has_an_example_that_is_one() -> None:
    shown = [json.loads(block) for block in blocks("json")]
    event = from_json(json.dumps(shown[0]))
    assert event["type"] == "argus.DiagnosisCompleted"
    examples = {"DiagnosisCompleted": event.data}
    sections = {section.partition("`")[0]: section for section in GUIDE.split("### `argus.")[1:]}
    assert set(sections) == set(NAMES)
    for name, section in sections.items():
        if "```json" in section:
            examples[name] = json.loads(section.split("```json\n")[1].partition("```")[0])
    for name, example in examples.items():
        model = DATA[name].model_validate_json(json.dumps(example))  # an unknown field is an error
        assert model.model_dump(mode="json", exclude_none=True, exclude_unset=True) == example
        said = sections[name] + GUIDE.partition("## Events")[2].partition("###")[0] + GUIDE.partition("## Events")[0]
        assert all(f"`{field}`" in said or f'"{field}"' in said for field in DATA[name].model_fields), name


def test_the_pauses_are_those_of_the_code() -> None:
    assert schedule(PAUSES) in GUIDE


def test_its_rules_are_read() -> None:
    (example,) = blocks("toml")
    assert len(AlertRules.model_validate(tomllib.loads(example)).alert) == 3


@pytest.mark.parametrize("signed_with", [(SECRET,), (OTHER_SECRET, SECRET), (OTHER_SECRET,)])
def test_its_python_and_its_shell_verify_what_is_signed(signed_with, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    event = example_alert(now)
    body = body_of(envelope(event))
    headers = headers_of(event.id, body, secrets=signed_with, at=now)
    right = SECRET in signed_with

    (python,) = blocks("python")
    names: dict = {}
    exec(python, names)
    if right:
        assert names["receive"](headers, body, SECRET)["id"] == event.id
    else:
        with pytest.raises(Exception, match="No matching signature"):
            names["receive"](headers, body, SECRET)

    (shell,) = blocks("bash")
    (tmp_path / "body.json").write_bytes(body)
    variables = {
        "secret": SECRET,
        "webhook_id": headers["webhook-id"],
        "webhook_timestamp": headers["webhook-timestamp"],
        "webhook_signature": headers["webhook-signature"],
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == ((0, "verified\n") if right else (1, ""))
