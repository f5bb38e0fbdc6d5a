"""Generates the OpenAPI 3.1 document from the operations and types of the admin API."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from sfu.api.admin import GRANT_DESCRIPTIONS, Operation
from sfu.api.schemas import Problem
from sfu.api.whep_openapi import WHEP

REFERENCE = "#/components/schemas/{name}"

PARAMETERS = {
    "room": "The room's name.",
    "identity": "The participant's identity, the `sub` of its token.",
    "track": "The track's id.",
    "reason": "Reason shown to the participant.",
    "destination": "The destination's id.",
    "ingest": "The id of the stream key.",
    "recording": "The recording's name.",
    "file": "The file's name.",
    "format": "`json` or `csv`.",
    "node": "The node's id.",
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


_SDP: dict[str, Any] = {"application/sdp": {"schema": {"type": "string"}}}
_FRAGMENT: dict[str, Any] = {"application/trickle-ice-sdpfrag": {"schema": {"type": "string"}}}
_ROOM: dict[str, Any] = {"name": "room", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 128}}
_SESSION: dict[str, Any] = {"name": "session", "in": "path", "required": True, "schema": {"type": "string"}}
_IF_MATCH: dict[str, Any] = {"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}
_SOURCE: dict[str, Any] = {"name": "source", "in": "query", "schema": {"enum": ["camera", "screen"]}}
_PROBLEM: dict[str, Any] = {
    "description": "Refused; RFC 9457.",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}
WHIP: dict[str, Any] = {
    "/whip/{room}": {
        "post": {
            "operationId": "createWhipSession",
            "summary": "Publish over WHIP (RFC 9725)",
            "description": "Requires `roomJoin` and `canPublish`.",
            "parameters": [_ROOM, _SOURCE],
            "requestBody": {"required": True, "content": _SDP},
            "responses": {
                "201": {"description": "The answer; `Location` is the session.", "content": _SDP},
                "4XX": _PROBLEM,
            },
        }
    },
    "/whip/{room}/{session}": {
        "patch": {
            "operationId": "updateWhipSession",
            "summary": "Trickle ICE, or restart ICE with `If-Match: *`",
            "parameters": [_ROOM, _SESSION, _IF_MATCH],
            "requestBody": {"required": True, "content": _FRAGMENT},
            "responses": {
                "200": {"description": "ICE restarts with these credentials.", "content": _FRAGMENT},
                "204": {"description": "Candidates received."},
                "4XX": _PROBLEM,
            },
        },
        "delete": {
            "operationId": "endWhipSession",
            "summary": "End a WHIP session",
            "parameters": [_ROOM, _SESSION],
            "responses": {"200": {"description": "Done."}, "4XX": _PROBLEM},
        },
    },
}
"""The WHIP endpoint; sfu/signaling/WHIP.md has the details."""


def document(version: str, operations: Sequence[Operation], base_path: str = "") -> dict[str, Any]:
    """The document. `base_path`: path prefix of the server behind a proxy."""
    types: list[type[Struct]] = [Problem]
    for operation in operations:
        types += [each for each in (operation.body, operation.answer) if each is not None and each not in types]
    _, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    paths |= WHIP
    paths |= WHEP
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
    texts = {media: {"schema": {"type": "string"}} for media in operation.media}
    if operation.answer is None:
        return {"description": "Done."} | ({"content": texts} if texts else {})
    described = _content(operation.answer, "Done.")
    described["content"] |= texts
    return described


def _content(shape: type[Struct], description: str) -> dict[str, Any]:
    described = {"description": description} if description else {}
    reference = {"$ref": REFERENCE.format(name=shape.__name__)}
    return described | {"content": {"application/json": {"schema": reference}}}
