"""Generates the OpenAPI 3.1 document from the operations and types of the admin API."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from sfu.api.admin import GRANT_DESCRIPTIONS, Operation
from sfu.api.schemas import Problem

REFERENCE = "#/components/schemas/{name}"

PARAMETERS = {
    "room": "The room's name.",
    "identity": "The participant's identity, the `sub` of its token.",
    "track": "The track's id.",
    "reason": "Reason shown to the participant.",
    "destination": "The destination's id.",
    "recording": "The recording's name.",
    "file": "The file's name.",
}
ERRORS = {
    "400": "The request is invalid.",
    "401": "The token is missing, invalid, expired or revoked.",
    "403": "The token lacks the required grant, or the origin of the web page is not allowed.",
    "404": "The object does not exist, or the token has no access to it.",
    "409": "The request conflicts with the current state.",
    "413": "The body is too large.",
    "415": "The body is not JSON or is compressed.",
    "503": "A limit of the server is reached.",
}


_BYTES: dict[str, Any] = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_RANGES: dict[str, Any] = {
    "206": {"description": "The requested range."} | _BYTES,
    "416": {"description": "The range is not satisfiable."},
}


def document(version: str, operations: Sequence[Operation], base_path: str = "") -> dict[str, Any]:
    """The document. `base_path`: path prefix of the server behind a proxy."""
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
            "description": "Manages rooms, participants, egress and recordings.",
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
                    "description": "An access token with the required grant; `sfu token` creates one.",
                }
            },
            "schemas": components,
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Requires {GRANT_DESCRIPTIONS[operation.grant]}.",
        "parameters": [_parameter(name, "path") for name in re.findall(r"{(\w+)}", operation.path)]
        + [_parameter(name, "query") for name in operation.query],
        "responses": {str(operation.status): _answer(operation)}
        | (_RANGES if operation.file else {})
        | {status: _content(Problem, text) for status, text in ERRORS.items()},
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


def _content(shape: type[Struct], description: str) -> dict[str, Any]:
    described = {"description": description} if description else {}
    reference = {"$ref": REFERENCE.format(name=shape.__name__)}
    return described | {"content": {"application/json": {"schema": reference}}}
