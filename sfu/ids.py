"""Identifiers as distinct types, so that mypy rejects one kind in place of another."""

from typing import NewType

RoomName = NewType("RoomName", str)
"""Name of a room in URLs and tokens: 1 to 128 characters."""

Identity = NewType("Identity", str)
"""Identity of a participant, the token's `sub`; unique within a room."""

ParticipantId = NewType("ParticipantId", str)
"""One stay of an identity in a room (`PA_…`); a rejoin creates a new id."""

SessionId = NewType("SessionId", str)
"""One signalling session (`SE_…`); it survives the loss of its socket."""

TrackId = NewType("TrackId", str)
"""One publication (`TR_…`)."""

PeerId = NewType("PeerId", int)
"""Number of one WebRTC connection in the engine of this process."""
