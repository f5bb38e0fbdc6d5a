"""Messages between the home of a room and its edges as MessagePack: the type's name, then its fields."""

from typing import Any, TypeVar, cast

import msgspec

from sfu.rooms import commands, events
from sfu.rooms.mirror import messages

T = TypeVar("T")

_MESSAGES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        messages.Admitted,
        messages.Applied,
        messages.Attach,
        messages.Decided,
        messages.Detach,
        messages.Enter,
        messages.Entered,
        messages.LeaveLobby,
        messages.Packet,
        messages.Removed,
        messages.State,
    )
}
_EVENTS: dict[str, type] = {kind.__name__: kind for kind in events.Event.__args__}
_ACTIONS: dict[str, type] = {kind.__name__: kind for kind in commands.Action.__args__}
_encode = msgspec.msgpack.Encoder().encode


class _Named(msgspec.Struct, frozen=True, array_like=True):
    name: str
    value: msgspec.Raw


class _Update(msgspec.Struct, frozen=True, array_like=True):
    event: _Named
    to: tuple[str, ...] | None
    exclude: str


class _Command(msgspec.Struct, frozen=True, array_like=True):
    number: int
    actor: str
    action: _Named


def encode(message: messages.EdgeMessage | messages.HomeMessage) -> bytes:
    match message:
        case messages.Update(event, to, exclude):
            value: object = _Update(_named(event), to, exclude)
        case messages.Command(number, actor, action):
            value = _Command(number, actor, _named(action))
        case _:
            value = message
    return _encode(_Named(type(message).__name__, msgspec.Raw(_encode(value))))


def decode(data: bytes) -> messages.EdgeMessage | messages.HomeMessage:
    """Raises ValueError."""
    named = _decode(data, _Named)
    if named.name == messages.Update.__name__:
        update = _decode(named.value, _Update)
        event = _value(update.event, _EVENTS)
        return messages.Update(cast("events.Event", event), cast("Any", update.to), update.exclude)
    if named.name == messages.Command.__name__:
        command = _decode(named.value, _Command)
        action = cast("commands.Action", _value(command.action, _ACTIONS))
        return messages.Command(command.number, cast("Any", command.actor), action)
    return cast("messages.EdgeMessage | messages.HomeMessage", _value(named, _MESSAGES))


def _named(value: object) -> _Named:
    return _Named(type(value).__name__, msgspec.Raw(_encode(value)))


def _value(named: _Named, types: dict[str, type]) -> object:
    kind = types.get(named.name)
    if kind is None:
        raise ValueError(f"unknown message {named.name}")
    return _decode(named.value, kind)


def _decode(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"malformed message: {error}") from error
