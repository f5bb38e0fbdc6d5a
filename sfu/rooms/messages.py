"""Chat messages, data messages and data-channel messages of a room, and the history for late joiners."""

from collections.abc import Callable, Iterable, Sequence

from sfu.errors import BadRequest, NotAuthorized, NotFound
from sfu.rooms.commands import SendChat, SendData
from sfu.rooms.events import ChatSent, DataPacket, DataSent
from sfu.rooms.history import ChatEntry, DataEntry, History
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant
from sfu.rooms.settings import Settings

ENTRY_BYTES = 200
"""Approximate memory of one history entry besides its text."""


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
        """The chat history that `reader` may see: public messages, and private ones that it sent or received."""
        return [entry for entry in self._chat if not entry.to or reader.id in (entry.to, entry.participant)]

    def data(self) -> list[DataEntry]:
        return list(self._data)

    def history(self) -> tuple[tuple[ChatEntry, ...], tuple[DataEntry, ...]]:
        """The whole chat history, private messages included, and the kept data."""
        return tuple(self._chat), tuple(self._data)

    def restore(self, chat: Iterable[ChatEntry], data: Iterable[DataEntry]) -> None:
        for entry in chat:
            self.keep_chat(entry)
        for kept in data:
            self.keep_data(kept)

    def clear(self) -> None:
        """Drops the history, before `restore` of another one."""
        self._chat.clear()
        self._data.clear()

    def send_chat(self, sender: Participant, text: str, to: str = "", *, identifier: str = "") -> None:
        """`to`: a participant id, for a private message. `identifier`: the id that another node gave the message. Raises
        NotAuthorized or NotFound."""
        self._check(sender)
        if self._members.home is not None:
            if to:
                self._receivers([to])
            self._members.home(sender, SendChat(self._ids("CH"), text, to))
            return
        if identifier and any(entry.id == identifier for entry in self._chat):
            return
        entry = ChatEntry(
            id=identifier or self._ids("CH"),
            participant=sender.id,
            name=sender.name,
            text=text,
            at=self._clock(),
            to=to,
        )
        if to:
            receivers = {sender.id: sender}
            for receiver in self._receivers([to]):
                receivers[receiver.id] = receiver
            self._members.send_to(ChatSent(entry), *receivers.values())
        else:
            self._members.broadcast(ChatSent(entry))
        self.keep_chat(entry)

    def keep_chat(self, entry: ChatEntry) -> None:
        """Adds a message to the history, which stays in the order of time."""
        newest = self._chat.newest
        if newest is None or (newest.at, newest.id) <= (entry.at, entry.id):
            self._chat.add(entry, len(entry.text.encode()) + ENTRY_BYTES)
        else:
            self.merge_chat([entry])

    def merge_chat(self, entries: Iterable[ChatEntry]) -> list[ChatEntry]:
        """Adds messages of another node's history. Returns those that are new here, oldest first."""
        known = {entry.id: entry for entry in self._chat}
        new = [entry for entry in entries if entry.id not in known]
        merged = sorted([*known.values(), *new], key=lambda entry: (entry.at, entry.id))
        self._chat.clear()
        for entry in merged:
            self._chat.add(entry, len(entry.text.encode()) + ENTRY_BYTES)
        return new

    def announce_chat(self, entries: Iterable[ChatEntry]) -> None:
        """Sends messages that were written on another node to the participants that may read them."""
        for entry in entries:
            if entry.to:
                found = (self._members.find(one) for one in dict.fromkeys((entry.participant, entry.to)))
                self._members.send_to(ChatSent(entry), *(one for one in found if one is not None))
            else:
                self._members.broadcast(ChatSent(entry))

    def keep_data(self, entry: DataEntry) -> None:
        """Adds a message to those that late joiners get."""
        self._data.add(entry, len(entry.payload.encode()) + len(entry.topic) + ENTRY_BYTES)

    def send_data(
        self, sender: Participant | None, topic: str, payload: str, to: Sequence[str] = (), *, keep: bool = False
    ) -> None:
        """`sender` None: the operator. Raises NotAuthorized, BadRequest or NotFound."""
        if sender is not None:
            self._check(sender)
        if keep and to:
            raise BadRequest("A data message that is kept for late joiners cannot have receivers.")
        if sender is not None and self._members.home is not None:
            if to:
                self._receivers(to)
            self._members.home(sender, SendData(topic, payload, tuple(to), keep))
            return
        entry = DataEntry(participant=sender.id if sender else "", topic=topic, payload=payload, at=self._clock())
        if to:
            self._members.send_to(DataSent(entry), *self._receivers(to))
        else:
            self._members.broadcast(DataSent(entry, keep), exclude=sender)
        if keep:
            self.keep_data(entry)

    def relay_data(self, sender: Participant, packet: DataPacket, *, reliable: bool) -> bool:
        """Passes a data-channel message to all other participants. False: the sender lacks the permission."""
        if not sender.permissions.data:
            return False
        for participant in self._members:
            if participant is not sender:
                participant.sink.relay_data(packet, reliable=reliable)
        return True

    def _check(self, sender: Participant) -> None:
        if not sender.permissions.data:
            raise NotAuthorized("This token does not allow sending chat or data.")

    def _receivers(self, names: Sequence[str]) -> list[Participant]:
        """Each participant once; unknown and hidden ones are skipped alike. Raises NotFound when none remains."""
        found = [self._members.find(name) for name in dict.fromkeys(names)]
        receivers = [one for one in found if one is not None and not one.permissions.hidden]
        if not receivers:
            raise NotFound("None of these participants is in the room.")
        return receivers
