"""The OpenAPI 3.1 document, made from the admin API's rows and types, so that it cannot tell anything else."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from sfu.api.admin import GRANT_WORDS, Operation
from sfu.api.schemas import Problem

REFERENCE = "#/components/schemas/{name}"

PARAMETERS = {
    "room": "The room's name.",
    "identity": "The participant's identity, the `sub` of its token.",
    "track": "The track's id.",
    "reason": "Shown to the person.",
    "destination": "The destination's id.",
    "recording": "The recording's name.",
    "file": "The file's name.",
}
ERRORS = {
    "400": "The request makes no sense.",
    "401": "The token is missing, wrong, expired or revoked.",
    "403": "The token does not grant this, or the web page's origin is not on the list.",
    "404": "There is no such thing, or this token does not open it.",
    "409": "Contradicts the present state.",
    "413": "The body is too large.",
    "415": "The body is not JSON, or it is compressed.",
    "503": "A cap of the server is reached.",
}


_BYTES: dict[str, Any] = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_RANGES: dict[str, Any] = {
    "206": {"description": "The part that `Range` asks for."} | _BYTES,
    "416": {"description": "The file has no such part."},
}


def document(version: str, operations: Sequence[Operation], base_path: str = "") -> dict[str, Any]:
    """`base_path`: of the server behind its proxy."""
    types: list[type[Struct]] = [Problem]
    for operation in operations:
        types += [each for each in (operation.body, operation.answer) if each is not None and each not in types]
    _, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aiosfu admin API",
            "version": version,
            "description": "Rooms and the people in them, for an operator's programs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        **({"servers": [{"url": base_path}]} if base_path else {}),
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token with the grant that the operation names; `sfu token` makes one.",
                }
            },
            "schemas": components,
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs {GRANT_WORDS[operation.grant]}.",
        "parameters": [_parameter(name, "path") for name in re.findall(r"{(\w+)}", operation.path)]
        + [_parameter(name, "query") for name in operation.query],
        "responses": {str(operation.status): _answer(operation)}
        | (_RANGES if operation.file else {})
        | {status: _content(Problem, words) for status, words in ERRORS.items()},
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True} | _content(operation.body, "")
    return described


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": PARAMETERS[name],
        "schema": {"type": "string", "maxLength": 256 if name == "reason" else 128},
    }


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.file:
        return {"description": "The whole file."} | _BYTES
    if operation.answer is None:
        return {"description": "Done."}
    return _content(operation.answer, "Done.")


def _content(shape: type[Struct], words: str) -> dict[str, Any]:
    described = {"description": words} if words else {}
    reference = {"$ref": REFERENCE.format(name=shape.__name__)}
    return described | {"content": {"application/json": {"schema": reference}}}
