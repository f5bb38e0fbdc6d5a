"""The message types, the schema and the examples of PROTOCOL.md agree."""

import re
from typing import Any

import jsonschema
import msgspec
import pytest

from sfu.signaling import messages
from sfu.signaling.json_dialect import decode
from sfu.signaling.schema import PATH, render
from tests.signaling.fakes import CLIENT, SCHEMA, SERVER

PROTOCOL = PATH.with_name("PROTOCOL.md").read_text()
EXAMPLES = [msgspec.json.decode(text) for text in re.findall(r"```json\n(.*?)```", PROTOCOL, re.DOTALL)]


def tags(union: object) -> set[str]:
    return {str(one.__struct_config__.tag) for one in union.__args__}  # type: ignore[attr-defined]  # a union of structs


def test_the_schema_file_is_what_the_types_say() -> None:
    assert PATH.read_text() == render(), "run: python -m sfu.signaling.schema"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["type"])
def test_examples_of_the_protocol(example: dict[str, Any]) -> None:
    text = msgspec.json.encode(example)
    fits = False
    for validator, union in ((CLIENT, messages.ClientMessage), (SERVER, messages.ServerMessage)):
        if validator.is_valid(example):
            decoded = msgspec.json.decode(text, type=union)
            # Nothing in an example may be a field that does not exist.
            fits = fits or set(example) - {"type"} <= set(decoded.__struct_fields__)
    assert fits


def test_every_message_has_an_example() -> None:
    shown = {example["type"] for example in EXAMPLES}
    assert tags(messages.ClientMessage) | tags(messages.ServerMessage) == shown


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "chat", "id": 1},
        {"type": "chat", "id": -1, "text": "x"},
        {"type": "chat", "id": 1, "text": ""},
        {"type": "nothing", "id": 1},
        {"type": "subscribe", "id": 1, "tracks": [{"track": "a", "priority": 256}]},
        {"type": "publish", "id": 1, "sdp": "x" * 200_000},
        {"type": "metadata", "id": 1, "attributes": {"k" * 65: "v"}},
    ],
)
def test_schema_and_decoder_refuse_alike(bad: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        CLIENT.validate(bad)
    with pytest.raises(msgspec.ValidationError):
        decode(msgspec.json.encode(bad))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
