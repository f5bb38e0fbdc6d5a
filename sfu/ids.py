"""Identifiers as distinct types, so that one kind is never passed for another."""

from typing import NewType

RoomName = NewType("RoomName", str)
"""The name of a room as users and tokens write it: 1 to 128 characters."""

Identity = NewType("Identity", str)
"""Who a participant is according to the token's `sub`; unique inside a room."""

ParticipantId = NewType("ParticipantId", str)
"""One stay of an identity in a room (`PA_…`); a rejoin gets a new one."""

SessionId = NewType("SessionId", str)
"""A signalling session (`SE_…`); outlives a dropped socket."""

TrackId = NewType("TrackId", str)
"""One publication (`TR_…`), as events, tokens and subscriptions name it."""

PeerId = NewType("PeerId", int)
"""One WebRTC connection inside this process, as the engine numbers it."""
