"""An encoding with some of its layers left out, made once for all subscribers that want it so.

A `FilteredStream` is to routes what an encoding is: its packets have numbers without gaps of their own and are kept for repair.
It exists only while a route takes it or waits for it. VP8 pictures that are left out leave no gap in the picture ids
either: libwebrtc holds a picture of a middle layer back when a number before it is missing (RtpVp8RefFinder). VP9 and the
dependency descriptor say which pictures they need by numbers, which therefore stay.

A packet that is missing upstream keeps a number free, for nobody knows its layer. When it comes and is to be left out,
a packet of padding takes its place, or the subscriber would ask for it again and again.
"""

from typing import Final

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layer_parser import LayerInfo, LayerLimit, LayerParser, layer_parser_for
from sfu.forwarding.packet import HEAD_SIZE, PADDED, PADDED_WORD, CodecPatch, Packet
from sfu.forwarding.stream import ALL_LAYERS, Stream

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


class FilteredStream(Stream):
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

    def take(self, packet: Packet, layer_info: LayerInfo | None, ahead: int) -> None:
        """A packet so many numbers ahead of the one before."""
        shift, shifts, mask = self.shift, self._shifts, self.mask
        if ahead > 1:
            fill(shifts, packet.sequence, min(ahead - 1, mask), shift)
        if layer_info is not None and (layer_info.temporal > self.temporal or layer_info.spatial > self.spatial):
            self.shift = shift + 1
            shifts[packet.sequence & mask] = shift
            return
        shifts[packet.sequence & mask] = shift
        sequence = (packet.sequence - shift) & 0xFFFF
        self._advance(sequence)
        self.last_timestamp = packet.timestamp
        made = self._renumbered(packet, layer_info, sequence)
        if made.codec_patch is not None:
            self.last_codec_patch = made.codec_patch
        self._put(made)

    def take_late(self, packet: Packet, layer_info: LayerInfo | None) -> None:
        """A packet that had been missing, or came out of order."""
        sequence = (packet.sequence - self._shifts[packet.sequence & self.mask]) & 0xFFFF
        ahead = (sequence - self.highest) & 0xFFFF
        if 0 < ahead < 0x8000:  # all that came after it was left out
            self._advance(sequence)
        elif 0x10000 - ahead > self.mask or self.find(sequence) is not None:
            return
        self.late = True
        out = layer_info is not None and (layer_info.temporal > self.temporal or layer_info.spatial > self.spatial)
        self._put(_filler(packet, sequence) if out else self._renumbered(packet, layer_info, sequence))

    def _advance(self, sequence: int) -> None:
        if sequence < self.highest:
            self.cycles += 0x10000
        self.highest = sequence

    def begin_picture(self, layer_info: LayerInfo, skipped: int, base: int) -> None:
        """Before the first packet of a picture that has come; of so many before it none has."""
        shift, pictures = self.picture_shift, self._pictures
        # between two pictures that go with one of the lowest layer there is none of that layer
        left_out = self.temporal == 0 and (layer_info.base - (layer_info.temporal == 0)) & 0xFF == base
        for back in range(skipped, 0, -1):
            number = (layer_info.number - back) & layer_info.modulus
            pictures[number % PICTURES] = (number, LEFT_OUT if left_out else shift)
            shift += left_out
        keeps = layer_info.temporal <= self.temporal
        pictures[layer_info.number % PICTURES] = (layer_info.number, shift if keeps else LEFT_OUT)
        self.picture_shift = shift + (not keeps)

    def _renumbered(self, packet: Packet, layer_info: LayerInfo | None, sequence: int) -> Packet:
        first, _, timestamp, extension_word, tail, size, codec_index, extension_size, codec_patch, keyframe = packet
        if layer_info is not None:
            if layer_info.number >= 0:
                number, shift = self._pictures[layer_info.number % PICTURES]
                if number != layer_info.number or shift == LEFT_OUT:
                    return _filler(packet, sequence)  # its picture has no number here
                if shift:
                    number = (number - shift) & layer_info.modulus
                    at = extension_size + 2
                    id_ = bytes((0x80 | number >> 8, number & 0xFF)) if layer_info.modulus > 0x7F else bytes((number,))
                    tail = tail[:at] + id_ + tail[at + len(id_) :]
                    if codec_patch is not None:
                        codec_patch = _new(CodecPatch, (*codec_patch[:2], number, *codec_patch[3:]))
            if layer_info.end and layer_info.spatial == self.spatial:
                first |= MARKER
        fields = (
            first,
            sequence,
            timestamp,
            extension_word,
            tail,
            size,
            codec_index,
            extension_size,
            codec_patch,
            keyframe,
        )
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


class LayerFilter:
    """What is made of one encoding. Kept in `Encoding.layer_filter` while there is any use for it."""

    __slots__ = ("_base", "_layers", "_number", "_origin", "_since", "_timestamp", "filtered", "highest")

    def __init__(self, origin: Encoding, layers: LayerParser) -> None:
        self._origin = origin
        self._layers = layers
        self.filtered: list[FilteredStream] = []
        self.highest = origin.highest
        """The origin's highest sequence number that was taken."""
        self._number = self._base = -1
        self._since = 0
        self._timestamp = -1

    def stream(self, caps: LayerLimit) -> Stream:
        for each in self.filtered:
            if (each.spatial, each.temporal) == caps:
                return each
        if self._full():
            self.filtered = [each for each in self.filtered if each.down_tracks]
        if self._full():
            return self._nearest(caps)
        made = FilteredStream(self._origin, *caps)
        made.highest = made.forwarded = self.highest
        self.filtered.append(made)
        return made

    def _full(self) -> bool:
        makers = [each.layer_filter for each in self._origin.track.encodings.values()]
        return sum(len(each.filtered) for each in makers if each is not None) >= LIMIT

    def _nearest(self, caps: LayerLimit) -> Stream:
        """The one with the most layers that holds none above `caps`; else the one with the fewest."""
        within = [each for each in self.filtered if each.spatial <= caps[0] and each.temporal <= caps[1]]
        if within:
            return max(within, key=lambda each: (each.spatial, each.temporal))
        return min((*self.filtered, self._origin), key=lambda each: (each.spatial, each.temporal))

    def waiting(self) -> list[DownTrack]:
        """Routes that have this encoding with some layers and want it with others; not those in a replay."""
        streams = (self._origin, *self.filtered)
        return [
            down_track
            for stream in streams
            for down_track in stream.down_tracks
            if down_track.target is stream
            and down_track.current is not stream
            and down_track.current in streams
            and down_track in down_track.current.down_tracks
        ]

    def read(self, packet: Packet) -> LayerInfo | None:
        return self._layers.read(packet)

    def is_switch_point(self, layer_info: LayerInfo | None, packet: Packet, down_track: DownTrack) -> bool:
        """Whether `down_track` may change over to its target at this packet, which comes next."""
        old, new = down_track.current, down_track.target
        if (
            layer_info is None
            or old is None
            or new is None
            or not self._begins(layer_info, packet)
            or not self.ahead(packet)
        ):
            return False
        had, wanted = (old.spatial, old.temporal), (new.spatial, new.temporal)
        if packet.keyframe or (wanted[0] <= had[0] and wanted[1] <= had[1]):
            return True
        return self._layers.is_switch_point(layer_info, self._since, had, wanted)

    def ahead(self, packet: Packet) -> int:
        """By how many numbers it is ahead of those taken; 0 when it came late."""
        if self.highest < 0:
            return 1
        ahead = (packet.sequence - self.highest) & 0xFFFF
        return ahead if ahead < 0x8000 else 0

    def take(self, packet: Packet, layer_info: LayerInfo | None) -> bool:
        """Gives every thinned stream its share; False when the packet came late."""
        ahead = self.ahead(packet)
        if not ahead:
            for each in self.filtered:
                each.take_late(packet, layer_info)
            return False
        self.highest = packet.sequence
        if ahead > 1:
            self._since = ANY  # who knows what it was
        if layer_info is not None:
            if self._begins(layer_info, packet):
                self._since = 0 if layer_info.temporal == 0 else self._since | 1 << layer_info.temporal
            if layer_info.number >= 0 and layer_info.number != self._number:
                skipped = ((layer_info.number - self._number) & layer_info.modulus) - 1 if self._number >= 0 else 0
                for each in self.filtered:
                    each.begin_picture(layer_info, skipped if skipped <= SKIPPED else 0, self._base)
                self._number, self._base = layer_info.number, layer_info.base
        self._timestamp = packet.timestamp
        for each in self.filtered:
            each.take(packet, layer_info, ahead)
        return True

    def _begins(self, layer_info: LayerInfo, packet: Packet) -> bool:
        """Whether this is the first packet of a picture, with all its spatial layers."""
        return layer_info.begin and packet.timestamp != self._timestamp

    def tidy(self) -> None:
        """Forgets what nobody takes any more."""
        self.filtered = [each for each in self.filtered if each.down_tracks]
        if not self.filtered:
            self._origin.layer_filter = None


def filtered(encoding: Encoding, spatial: int = ALL_LAYERS, temporal: int = ALL_LAYERS) -> Stream:
    """The stream of these layers; the encoding itself when that is all of them, or when they cannot be told apart."""
    if spatial == ALL_LAYERS and temporal == ALL_LAYERS:
        return encoding
    if encoding.layer_filter is None:
        layers = layer_parser_for(encoding)
        if layers is None:
            return encoding
        encoding.layer_filter = LayerFilter(encoding, layers)
    return encoding.layer_filter.stream((spatial, temporal))
