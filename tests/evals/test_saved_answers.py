"""Saved answers of a language model: each goes the whole way, is valid, and is scored without a model."""

from pathlib import Path

import pytest

from argus_assets.diagnosis.prompt import PROMPT_VERSION
from evals.saved_answers import SavedAnswer, load_answers, of_other_prompts, save_answer
from evals.story import load_stories
from evals.story_run import prompt_of, replayed

ANSWERS = load_answers()


def test_every_saved_answer_is_used(tmp_path_factory: pytest.TempPathFactory) -> None:
    stories = load_stories()
    assert set(ANSWERS) <= set(stories)
    assert all(stories[name].split != "sealed" for name in ANSWERS)
    judged, made = replayed(stories, ANSWERS, tmp_path_factory.mktemp("stories"))
    refused = {name: d.mode_reason for name, d in made.items() if d.mode not in ("llm", "fast_path")}
    assert refused == {}
    assert sum(d.mode == "llm" for d in made.values()) >= len(ANSWERS) // 2
    dropped = {name: d.notes for name, d in made.items() if any("was dropped" in note for note in d.notes)}
    assert dropped == {}
    composed = [c for d in made.values() for c in d.root_causes if "@" in c.cause]
    assert composed, "some causes are composed"
    assert any(claim.absent for d in made.values() for c in d.root_causes for claim in c.claims)
    assert len(judged) == len(ANSWERS)


def test_an_invalid_answer_is_refused_and_the_model_of_the_vehicle_answers(tmp_path: Path) -> None:
    stories = load_stories()
    name = next(iter(ANSWERS))
    bad = SavedAnswer(prompt_version="x", model="m", answer={"summary": "nothing"})
    _, made = replayed({name: stories[name]}, {name: bad}, tmp_path)
    assert made[name].mode == "offline"
    assert made[name].degraded == "invalid_answer" or "did not answer" in made[name].mode_reason


def test_answers_are_read_as_they_were_saved(tmp_path: Path) -> None:
    saved = SavedAnswer(prompt_version="v", model="m", answer={"a": [1, "ü"]})
    save_answer("car/x", saved, tmp_path)
    assert load_answers(tmp_path) == {"car/x": saved}
    assert of_other_prompts({"car/x": saved}, PROMPT_VERSION) == ["car/x"]
    (tmp_path / "car" / "y.json").write_text("{}")
    with pytest.raises(ValueError, match=r"y\.json"):
        load_answers(tmp_path)


def test_the_prompt_of_a_story_holds_its_codes(tmp_path: Path) -> None:
    name = next(name for name in ANSWERS if name.startswith("truck/"))
    asked = prompt_of(name, load_stories()[name], tmp_path)
    assert asked is not None
    assert "SPN" in asked.user
    assert "composed" in asked.schema["properties"]["root_causes"]["items"]["properties"]["cause"]["enum"]
