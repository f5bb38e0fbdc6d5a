"""An encoding with some of its layers left out, made once for all subscribers that want it so.

A `Thinned` is to routes what an encoding is: its packets have numbers without gaps of their own and are kept for repair.
It exists only while a route takes it or waits for it. VP8 pictures that are left out leave no gap in the picture ids
either: libwebrtc holds a picture of a middle layer back when a number before it is missing (RtpVp8RefFinder). VP9 and the
dependency descriptor say which pictures they need by numbers, which therefore stay.

A packet that is missing upstream keeps a number free, for nobody knows its layer. When it comes and is to be left out,
a packet of padding takes its place, or the subscriber would ask for it again and again.
"""

from typing import Final

from sfu.forwarding.down_track import Route
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layer_parser import Caps, Layers, Mark, layers_of
from sfu.forwarding.packet import HEAD_SIZE, PADDED, PADDED_WORD, Packet, Special
from sfu.forwarding.stream import EVERYTHING, Stream

PICTURES: Final = 128
"""Pictures remembered for packets that come late: as many as 7-bit picture ids tell apart."""
SKIPPED: Final = 32
"""Pictures missing in a row that are noted one by one. After more of them a receiver needs a keyframe."""
FILLER: Final = b"\0\0" + bytes(3) + b"\4"
"""The two bytes that end the head's extensions, and four of padding."""
LIMIT: Final = 8
"""Selections of a track's layers that somebody takes at a time: browsers send three of either kind in one encoding
(three times three, and the whole needs none), or three encodings with three temporal layers each."""
LEFT_OUT: Final = -1
MARKER: Final = 0x80
ANY: Final = 0xFF
_new: Final = tuple.__new__
"""Makes a NamedTuple from a tuple in half the time that calling it takes."""


class Thinned(Stream):
    """Layers up to `spatial` and `temporal` of one encoding."""

    __slots__ = ("_origin", "_pictures", "_shifts")

    def __init__(self, origin: Encoding, spatial: int, temporal: int) -> None:
        super().__init__(origin.track)
        self._origin = origin
        self.spatial, self.temporal = spatial, temporal
        self.highest = self.forwarded = origin.highest
        self._shifts = [0] * (self.mask + 1)
        """What `shift` was at each of the origin's packets of late, by its number."""
        self._pictures: list[tuple[int, int]] = [(-1, LEFT_OUT)] * PICTURES
        """(picture, what `picture_shift` was then or `LEFT_OUT`) of late."""

    @property
    def origin(self) -> Encoding:
        return self._origin

    def take(self, packet: Packet, mark: Mark | None, ahead: int) -> None:
        """A packet so many numbers ahead of the one before."""
        shift, shifts, mask = self.shift, self._shifts, self.mask
        if ahead > 1:
            fill(shifts, packet.sequence, min(ahead - 1, mask), shift)
        if mark is not None and (mark.temporal > self.temporal or mark.spatial > self.spatial):
            self.shift = shift + 1
            shifts[packet.sequence & mask] = shift
            return
        shifts[packet.sequence & mask] = shift
        sequence = (packet.sequence - shift) & 0xFFFF
        self._advance(sequence)
        self.last_timestamp = packet.timestamp
        made = self._renumbered(packet, mark, sequence)
        if made.special is not None:
            self.last_special = made.special
        self._put(made)

    def take_late(self, packet: Packet, mark: Mark | None) -> None:
        """A packet that had been missing, or came out of order."""
        sequence = (packet.sequence - self._shifts[packet.sequence & self.mask]) & 0xFFFF
        ahead = (sequence - self.highest) & 0xFFFF
        if 0 < ahead < 0x8000:  # all that came after it was left out
            self._advance(sequence)
        elif 0x10000 - ahead > self.mask or self.find(sequence) is not None:
            return
        self.late = True
        out = mark is not None and (mark.temporal > self.temporal or mark.spatial > self.spatial)
        self._put(_filler(packet, sequence) if out else self._renumbered(packet, mark, sequence))

    def _advance(self, sequence: int) -> None:
        if sequence < self.highest:
            self.cycles += 0x10000
        self.highest = sequence

    def begin_picture(self, mark: Mark, skipped: int, base: int) -> None:
        """Before the first packet of a picture that has come; of so many before it none has."""
        shift, pictures = self.picture_shift, self._pictures
        # between two pictures that go with one of the lowest layer there is none of that layer
        left_out = self.temporal == 0 and (mark.base - (mark.temporal == 0)) & 0xFF == base
        for back in range(skipped, 0, -1):
            number = (mark.number - back) & mark.modulus
            pictures[number % PICTURES] = (number, LEFT_OUT if left_out else shift)
            shift += left_out
        keeps = mark.temporal <= self.temporal
        pictures[mark.number % PICTURES] = (mark.number, shift if keeps else LEFT_OUT)
        self.picture_shift = shift + (not keeps)

    def _renumbered(self, packet: Packet, mark: Mark | None, sequence: int) -> Packet:
        first, _, timestamp, word, tail, size, codec_index, extra, special, keyframe = packet
        if mark is not None:
            if mark.number >= 0:
                number, shift = self._pictures[mark.number % PICTURES]
                if number != mark.number or shift == LEFT_OUT:
                    return _filler(packet, sequence)  # its picture has no number here
                if shift:
                    number = (number - shift) & mark.modulus
                    at = extra + 2
                    id_ = bytes((0x80 | number >> 8, number & 0xFF)) if mark.modulus > 0x7F else bytes((number,))
                    tail = tail[:at] + id_ + tail[at + len(id_) :]
                    if special is not None:
                        special = _new(Special, (*special[:2], number, *special[3:]))
            if mark.end and mark.spatial == self.spatial:
                first |= MARKER
        fields = (first, sequence, timestamp, word, tail, size, codec_index, extra, special, keyframe)
        return _new(Packet, fields)

    def _put(self, packet: Packet) -> None:
        self.history[packet.sequence & self.mask] = packet
        self.batch.append(packet)


def fill(ring: list[int], end: int, count: int, value: int) -> None:
    """Sets the `count` entries before that of `end`, without a step for each: a sender can skip 500 with every packet."""
    size = len(ring)
    last = end & size - 1
    first = last - count
    ring[max(0, first) : last] = [value] * min(count, last)
    if first < 0:
        ring[first:] = [value] * -first


def _filler(packet: Packet, sequence: int) -> Packet:
    """Takes the number of `packet`, and says nothing."""
    size = HEAD_SIZE + len(FILLER)
    return Packet(PADDED, sequence, packet.timestamp, PADDED_WORD, FILLER, size, packet.codec_index, 2, None, False)


class Thinning:
    """What is made of one encoding. Kept in `Encoding.thinning` while there is any use for it."""

    __slots__ = ("_base", "_layers", "_number", "_origin", "_since", "_timestamp", "highest", "thinned")

    def __init__(self, origin: Encoding, layers: Layers) -> None:
        self._origin = origin
        self._layers = layers
        self.thinned: list[Thinned] = []
        self.highest = origin.highest
        """The origin's highest sequence number that was taken."""
        self._number = self._base = -1
        self._since = 0
        self._timestamp = -1

    def stream(self, caps: Caps) -> Stream:
        for each in self.thinned:
            if (each.spatial, each.temporal) == caps:
                return each
        if self._full():
            self.thinned = [each for each in self.thinned if each.routes]
        if self._full():
            return self._nearest(caps)
        made = Thinned(self._origin, *caps)
        made.highest = made.forwarded = self.highest
        self.thinned.append(made)
        return made

    def _full(self) -> bool:
        makers = [each.thinning for each in self._origin.track.encodings.values()]
        return sum(len(each.thinned) for each in makers if each is not None) >= LIMIT

    def _nearest(self, caps: Caps) -> Stream:
        """The one with the most layers that holds none above `caps`; else the one with the fewest."""
        within = [each for each in self.thinned if each.spatial <= caps[0] and each.temporal <= caps[1]]
        if within:
            return max(within, key=lambda each: (each.spatial, each.temporal))
        return min((*self.thinned, self._origin), key=lambda each: (each.spatial, each.temporal))

    def waiting(self) -> list[Route]:
        """Routes that have this encoding with some layers and want it with others; not those in a replay."""
        streams = (self._origin, *self.thinned)
        return [
            route
            for stream in streams
            for route in stream.routes
            if route.target is stream
            and route.current is not stream
            and route.current in streams
            and route in route.current.routes
        ]

    def read(self, packet: Packet) -> Mark | None:
        return self._layers.read(packet)

    def opens(self, mark: Mark | None, packet: Packet, route: Route) -> bool:
        """Whether `route` may change over to its target at this packet, which comes next."""
        old, new = route.current, route.target
        if mark is None or old is None or new is None or not self._begins(mark, packet) or not self.ahead(packet):
            return False
        had, wanted = (old.spatial, old.temporal), (new.spatial, new.temporal)
        if packet.keyframe or (wanted[0] <= had[0] and wanted[1] <= had[1]):
            return True
        return self._layers.opens(mark, self._since, had, wanted)

    def ahead(self, packet: Packet) -> int:
        """By how many numbers it is ahead of those taken; 0 when it came late."""
        if self.highest < 0:
            return 1
        ahead = (packet.sequence - self.highest) & 0xFFFF
        return ahead if ahead < 0x8000 else 0

    def take(self, packet: Packet, mark: Mark | None) -> bool:
        """Gives every thinned stream its share; False when the packet came late."""
        ahead = self.ahead(packet)
        if not ahead:
            for each in self.thinned:
                each.take_late(packet, mark)
            return False
        self.highest = packet.sequence
        if ahead > 1:
            self._since = ANY  # who knows what it was
        if mark is not None:
            if self._begins(mark, packet):
                self._since = 0 if mark.temporal == 0 else self._since | 1 << mark.temporal
            if mark.number >= 0 and mark.number != self._number:
                skipped = ((mark.number - self._number) & mark.modulus) - 1 if self._number >= 0 else 0
                for each in self.thinned:
                    each.begin_picture(mark, skipped if skipped <= SKIPPED else 0, self._base)
                self._number, self._base = mark.number, mark.base
        self._timestamp = packet.timestamp
        for each in self.thinned:
            each.take(packet, mark, ahead)
        return True

    def _begins(self, mark: Mark, packet: Packet) -> bool:
        """Whether this is the first packet of a picture, with all its spatial layers."""
        return mark.begin and packet.timestamp != self._timestamp

    def tidy(self) -> None:
        """Forgets what nobody takes any more."""
        self.thinned = [each for each in self.thinned if each.routes]
        if not self.thinned:
            self._origin.thinning = None


def thinned(encoding: Encoding, spatial: int = EVERYTHING, temporal: int = EVERYTHING) -> Stream:
    """The stream of these layers; the encoding itself when that is all of them, or when they cannot be told apart."""
    if spatial == EVERYTHING and temporal == EVERYTHING:
        return encoding
    if encoding.thinning is None:
        layers = layers_of(encoding)
        if layers is None:
            return encoding
        encoding.thinning = Thinning(encoding, layers)
    return encoding.thinning.stream((spatial, temporal))
