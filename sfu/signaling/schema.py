"""The JSON Schema file of the protocol, made from messages.py: `python -m sfu.signaling.schema` writes it anew."""

import json
from pathlib import Path

from sfu.signaling.messages import json_schema

PATH = Path(__file__).with_name("schema.json")


def render() -> str:
    return json.dumps(json_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(render())
