"""The JSON Schema of the protocol, generated from the message types: `python -m sfu.signaling.schema` writes schema.json."""

import json
from pathlib import Path
from typing import Any

import msgspec

from sfu.signaling.messages import ClientMessage, ServerMessage

PATH = Path(__file__).with_name("schema.json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of both directions."""
    (client, server), components = msgspec.json.schema_components(
        [ClientMessage, ServerMessage], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "aiosfu signalling",
        "$defs": components | {"ClientMessage": client, "ServerMessage": server},
        "anyOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
    }


def render() -> str:
    return json.dumps(json_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(render())
