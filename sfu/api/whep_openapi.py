"""The WHEP endpoint in the OpenAPI document; sfu/signaling/WHEP.md has the details."""

from typing import Any, Final

_SDP: Final[dict[str, Any]] = {"application/sdp": {"schema": {"type": "string"}}}
_FRAGMENT: Final[dict[str, Any]] = {"application/trickle-ice-sdpfrag": {"schema": {"type": "string"}}}
_PROBLEM: Final[dict[str, Any]] = {
    "description": "Refused; RFC 9457.",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}
_EVENTS: Final = ["active", "inactive", "layers", "viewercount"]


def _part(name: str, place: str = "path") -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": {"type": "string", "maxLength": 128}}


def _create(name: str, summary: str, *parts: str) -> dict[str, Any]:
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "description": "Requires `roomJoin` and `canSubscribe`.",
            "parameters": [_part(part) for part in parts],
            "requestBody": {"required": True, "content": _SDP},
            "responses": {
                "201": {"description": "The answer; `Location` is the session.", "content": _SDP},
                "406": {"description": "An offer of the server; answer it with PATCH.", "content": _SDP},
                "409": _PROBLEM | {"description": "Nothing is live; `Retry-After` says when to try again."},
                "4XX": _PROBLEM,
            },
        }
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


_SESSION: Final = _part("session")
WHEP: Final[dict[str, Any]] = {
    "/whep/{room}": _create("watchMix", "Watch the mix of a room over WHEP", "room"),
    "/whep/{room}/{identity}": _create("watchParticipant", "Watch a participant over WHEP", "room", "identity"),
    "/whep/{room}/{identity}/{source}": _create(
        "watchTrack", "Watch one track over WHEP", "room", "identity", "source"
    ),
    "/whep-session/{session}": {
        "patch": {
            "operationId": "updateWhepSession",
            "summary": "Answer the server's offer, trickle ICE, or restart ICE with `If-Match: *`",
            "parameters": [_SESSION, _part("If-Match", "header") | {"required": False}],
            "requestBody": {"required": True, "content": _SDP | _FRAGMENT},
            "responses": {
                "200": {"description": "ICE restarts with these credentials.", "content": _FRAGMENT},
                "204": {"description": "Received."},
                "4XX": _PROBLEM,
            },
        },
        "delete": {
            "operationId": "endWhepSession",
            "summary": "End a WHEP session",
            "parameters": [_SESSION],
            "responses": {"200": {"description": "Done."}, "4XX": _PROBLEM},
        },
    },
    "/whep-session/{session}/layer": {
        "post": {
            "operationId": "selectWhepLayer",
            "summary": "Limit the video of a WHEP session to a layer or a size",
            "parameters": [_SESSION],
            "requestBody": _json(
                {
                    "type": "object",
                    "properties": {
                        "mediaId": {"type": "string"},
                        "encodingId": {"type": "string"},
                        "maxWidth": {"type": "integer", "minimum": 0},
                        "maxHeight": {"type": "integer", "minimum": 0},
                    },
                }
            ),
            "responses": {"200": {"description": "Done."}, "4XX": _PROBLEM},
        }
    },
    "/whep-session/{session}/sse": {
        "post": {
            "operationId": "openWhepEvents",
            "summary": "Open the event stream of a WHEP session",
            "parameters": [_SESSION],
            "requestBody": _json({"type": "array", "items": {"enum": _EVENTS}}),
            "responses": {"201": {"description": "`Location` is the stream."}, "4XX": _PROBLEM},
        }
    },
}
