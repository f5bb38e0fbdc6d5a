"""What is said in a room: chat for people, data for applications, and what is kept of both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sfu.errors import BadRequest, NotAuthorized, NotFound
from sfu.rooms.events import ChatSent, DataSent
from sfu.rooms.history import History
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant
from sfu.rooms.settings import Settings

ENTRY_BYTES = 200
"""Added to each entry's text in the count of bytes: roughly what the record itself takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatEntry:
    id: str
    participant: str
    name: str
    text: str
    at: float
    to: str = ""
    "The only receiver, when it is private."


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    participant: str
    "Empty: the operator."
    topic: str
    payload: str
    at: float


class Messages:
    __slots__ = ("_chat", "_clock", "_data", "_ids", "_members")

    def __init__(
        self, settings: Settings, members: Members, ids: Callable[[str], str], clock: Callable[[], float]
    ) -> None:
        self._members = members
        self._ids = ids
        self._clock = clock
        self._chat: History[ChatEntry] = History(settings.chat_entries, settings.chat_bytes)
        self._data: History[DataEntry] = History(settings.data_entries, settings.data_bytes)

    def chat(self, reader: Participant) -> list[ChatEntry]:
        """What `reader` may see of the past: private entries only if they are its own or to it."""
        return [entry for entry in self._chat if not entry.to or reader.id in (entry.to, entry.participant)]

    def data(self) -> list[DataEntry]:
        return list(self._data)

    def send_chat(self, speaker: Participant, text: str, to: str = "") -> None:
        self._check(speaker)
        entry = ChatEntry(
            id=self._ids("CH"),
            participant=speaker.id,
            name=speaker.name,
            text=text,
            at=self._clock(),
            to=to,
        )
        if to:
            receivers = {speaker.id: speaker}
            for receiver in self._receivers([to]):
                receivers[receiver.id] = receiver
            self._members.send_to(ChatSent(entry), *receivers.values())
        else:
            self._members.broadcast(ChatSent(entry))
        self._chat.add(entry, len(text.encode()) + ENTRY_BYTES)

    def send_data(
        self, sender: Participant | None, topic: str, payload: str, to: Sequence[str] = (), *, keep: bool = False
    ) -> None:
        """`sender` None: the operator."""
        if sender is not None:
            self._check(sender)
        if keep and to:
            raise BadRequest("What is kept for late joiners cannot be addressed to some only.")
        entry = DataEntry(participant=sender.id if sender else "", topic=topic, payload=payload, at=self._clock())
        if to:
            self._members.send_to(DataSent(entry), *self._receivers(to))
        else:
            self._members.broadcast(DataSent(entry), exclude=sender)
        if keep:
            self._data.add(entry, len(payload.encode()) + len(topic) + ENTRY_BYTES)

    def relay_data(self, sender: Participant, text: str, *, reliable: bool) -> bool:
        """A data-channel message to all others, as it is. False: the sender may not."""
        if not sender.permissions.data:
            return False
        for participant in self._members:
            if participant is not sender:
                participant.sink.relay_data(text, reliable=reliable)
        return True

    def _check(self, speaker: Participant) -> None:
        if not speaker.permissions.data:
            raise NotAuthorized("This token does not allow sending chat or data.")

    def _receivers(self, names: Sequence[str]) -> list[Participant]:
        """Each once; those that are gone (or hidden: alike) are skipped. Raises NotFound when nobody is left."""
        found = [self._members.find(name) for name in dict.fromkeys(names)]
        receivers = [one for one in found if one is not None and not one.permissions.hidden]
        if not receivers:
            raise NotFound("None of these participants is in the room.")
        return receivers
