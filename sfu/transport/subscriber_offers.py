"""Offers of the server to one subscriber: m-lines, payload types, the open offer and changes that wait for its answer.

M-lines are recycled and never removed, so that they keep their order (RFC 9429 5.2.2). While an offer is open, changes wait
for its answer. A pure state machine: the connection (subscriber.py) schedules offers and sends them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from sfu.errors import AtCapacity
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource
from sfu.sdp.capabilities import PayloadTypeTable
from sfu.sdp.description import ANSWER_MEDIA_LIMIT
from sfu.sdp.local import LocalTransport
from sfu.sdp.offer import AnsweredSection, ParsedAnswer, Transceiver, make_offer, parse_answer
from sfu.transport.subscription import SendParameters

DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class MediaSectionState:
    """One m-line: its transceiver as offered next, and the track that it carries."""

    slot: Transceiver
    track: TrackId | None = None


class SubscriberOffer(NamedTuple):
    offer_id: int
    sdp: str
    tracks: dict[str, TrackId]
    "By mid."


class SubscriberOffers:
    """Assigns tracks to m-lines, makes offers and accepts their answers."""

    def __init__(self, take_ssrc: Callable[[], int]) -> None:
        """`take_ssrc` returns an unused SSRC."""
        self._take_ssrc = take_ssrc
        self._payload_types = PayloadTypeTable()
        self._media_sections: list[MediaSectionState] = []
        self._offer_id = 0
        self._open_offer: list[Transceiver] | None = None
        self._changed = False

    @property
    def due(self) -> bool:
        """Whether an offer has to be made: something changed, and no offer is open."""
        return self._changed and self._open_offer is None

    def assign(self, track: TrackId, source: MediaSource) -> None:
        """Offers the track on a free m-line or on a new one. Raises AtCapacity when all m-lines are in use."""
        parameters, codec = source.track.parameters, source.track.codec
        video = source.kind == "video"
        payload_type, rtx = self._payload_types.assign(codec, parameters, video)
        codecs = [(codec, source.track.clock_rate, 1 if video else 2, parameters, payload_type, rtx)]
        if codec == "opus":  # the server adds redundancy when the path to this subscriber loses packets
            inside = f"{payload_type}/{payload_type}"
            red, _ = self._payload_types.assign("red", inside, False)
            codecs.append(("red", source.track.clock_rate, 2, inside, red, None))
        free = (line for line in self._media_sections if line.track is None and line.slot.kind == source.kind)
        line = next(free, None)
        if line is None:
            number = len(self._media_sections)
            if number >= ANSWER_MEDIA_LIMIT:
                raise AtCapacity(f"A participant can receive at most {ANSWER_MEDIA_LIMIT} tracks at once.")
            line = MediaSectionState(
                Transceiver(DIGITS[number // 36] + DIGITS[number % 36], source.kind, (), 0, None, "", "", False)
            )
            self._media_sections.append(line)
        line.track = track
        line.slot = Transceiver(
            line.slot.mid,
            source.kind,
            tuple(codecs),
            self._take_ssrc(),
            self._take_ssrc() if rtx is not None else None,
            source.stream,
            str(track),
            True,
        )
        self._changed = True

    def release(self, track: TrackId) -> None:
        """Frees the track's m-line for another one."""
        for line in self._media_sections:
            if line.track == track:
                line.track = None
                line.slot = line.slot._replace(active=False)
                self._changed = True

    def withdraw(self) -> None:
        """Withdraws an open offer: its answer is refused, and a new offer is due."""
        self._open_offer = None
        self._changed = True

    def make(self, local: LocalTransport, *, session_id: int, session_version: int) -> SubscriberOffer:
        """Opens an offer of the current state."""
        self._changed = False
        self._offer_id += 1
        slots = self._open_offer = [line.slot for line in self._media_sections]
        sdp = make_offer(slots, local, session_id=session_id, session_version=session_version)
        tracks = {line.slot.mid: line.track for line in self._media_sections if line.track is not None}
        return SubscriberOffer(self._offer_id, sdp, tracks)

    def is_open(self, offer_id: int) -> bool:
        return self._open_offer is not None and offer_id == self._offer_id

    def parse_answer(self, sdp: str) -> ParsedAnswer:
        """Parses an answer to the open offer. Raises BadRequest if it does not fit, and then the offer stays open."""
        return parse_answer(sdp, self._open_offer or [])

    def accept(self, answer: ParsedAnswer) -> list[tuple[TrackId, SendParameters | None]]:
        """Closes the offer. Returns how to send each track; None: the subscriber does not take its codec.

        Leaves out tracks that changed since the offer: the next offer includes them.
        """
        offered = {slot.mid: slot for slot in self._open_offer or ()}
        self._open_offer = None
        accepted = []
        for line in self._media_sections:
            section, slot = answer.sections.get(line.slot.mid), line.slot
            if section is not None and line.track is not None and slot.ssrc == offered[slot.mid].ssrc:
                accepted.append((line.track, _send_parameters(slot, section)))
        return accepted


def _send_parameters(slot: Transceiver, section: AnsweredSection) -> SendParameters | None:
    codec = slot.codecs[0][0]
    payload_type = next((number for number, name in section.payload_types.items() if name == codec), None)
    if not section.accepted or payload_type is None:
        return None
    return SendParameters(
        slot.mid,
        slot.ssrc,
        slot.rtx_ssrc or 0,
        payload_type,
        next((number for number, name in section.payload_types.items() if name == "red"), None),
        next((number for number, apt in section.rtx.items() if apt == payload_type), None),
        section.extensions,
    )
