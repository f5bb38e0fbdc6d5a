"""Streams with some layers of an encoding left out, each made once for all subscribers that take it.

Down tracks take a `FilteredStream` like an encoding: its packets have sequence numbers without gaps and are kept for
retransmission. It exists only while a down track takes it or waits for it. VP8 picture ids have no gaps either: libwebrtc
holds back a picture of a middle layer while an id before it is missing (RtpVp8RefFinder). VP9 and the dependency descriptor
refer to other pictures by number, so those numbers stay.

A packet that is missing upstream keeps its sequence number, because its layer is not known. If it comes later and is to be
left out, a padding packet takes its place. Otherwise the subscriber would request it again and again.
"""

from typing import Final, Protocol

from sfu.forwarding.down_track import DownTrack, OriginStream, RtpStream
from sfu.forwarding.layer_parser import LayerInfo, LayerParser, ParsedStream, layer_parser_for
from sfu.forwarding.layers import ALL_LAYERS, LayerLimit
from sfu.forwarding.packet import HEAD_SIZE, PADDED, PADDED_WORD, CodecPatch, Packet
from sfu.forwarding.stream import Stream

PICTURES: Final = 128
"""Pictures remembered for late packets: as many as 7-bit picture ids distinguish."""
SKIPPED: Final = 32
"""Consecutive missing pictures that are recorded one by one. After more of them a receiver needs a keyframe."""
FILLER: Final = b"\0\0" + bytes(3) + b"\4"
"""The two bytes that complete the header extensions, and four bytes of padding."""
LIMIT: Final = 8
"""Filtered streams of one track at a time. Browsers send up to three spatial × three temporal layers in one encoding (all
layers need no filter), or three encodings with three temporal layers each."""
LEFT_OUT: Final = -1
MARKER: Final = 0x80
ANY: Final = 0xFF
"""As the mask of temporal layers since the last base layer picture: not known."""
_new: Final = tuple.__new__
"""Makes a NamedTuple from a tuple in half the time of its constructor."""


class LayeredStream(OriginStream, ParsedStream, Protocol):
    """The part of an encoding (encoding.py) that its layer filter uses."""

    layer_filter: "LayerFilter | None"


class FilteredStream(Stream):
    """Layers up to `spatial` and `temporal` of one encoding."""

    __slots__ = ("_origin", "_pictures", "_shifts")

    def __init__(self, origin: LayeredStream, spatial: int, temporal: int) -> None:
        super().__init__(origin.track)
        self._origin = origin
        self.spatial, self.temporal = spatial, temporal
        self.highest = self.forwarded = origin.highest
        self._shifts = [0] * (self.mask + 1)
        """Value of `shift` at each of the origin's newest packets, by sequence number."""
        self._pictures: list[tuple[int, int]] = [(-1, LEFT_OUT)] * PICTURES
        """(picture id, value of `picture_shift` at that picture or `LEFT_OUT`) of the newest pictures."""

    @property
    def origin(self) -> OriginStream:
        return self._origin

    def take(self, packet: Packet, layer_info: LayerInfo | None, ahead: int) -> None:
        """Takes a packet that is `ahead` sequence numbers ahead of the previous one."""
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
        """Takes a packet that was missing or came out of order."""
        sequence = (packet.sequence - self._shifts[packet.sequence & self.mask]) & 0xFFFF
        ahead = (sequence - self.highest) & 0xFFFF
        if 0 < ahead < 0x8000:  # every packet after it was left out
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
        """Called before the first packet of a picture. `skipped`: pictures before it of which no packet came."""
        shift, pictures = self.picture_shift, self._pictures
        # Two pictures that depend on the same base layer picture have no base layer picture between them.
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
                    return _filler(packet, sequence)  # its picture is not in this stream
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
    """Sets the `count` entries before index `end` by slices: a sender can skip 500 sequence numbers with every packet."""
    size = len(ring)
    last = end & size - 1
    first = last - count
    ring[max(0, first) : last] = [value] * min(count, last)
    if first < 0:
        ring[first:] = [value] * -first


def _filler(packet: Packet, sequence: int) -> Packet:
    """A padding packet with sequence number `sequence` in place of `packet`."""
    size = HEAD_SIZE + len(FILLER)
    return Packet(PADDED, sequence, packet.timestamp, PADDED_WORD, FILLER, size, packet.codec_index, 2, None, False)


class LayerFilter:
    """All filtered streams of one encoding. Kept in `Encoding.layer_filter` while any of them has a down track."""

    __slots__ = ("_base", "_layers", "_number", "_origin", "_since", "_timestamp", "filtered", "highest")

    def __init__(self, origin: LayeredStream, layers: LayerParser) -> None:
        self._origin = origin
        self._layers = layers
        self.filtered: list[FilteredStream] = []
        self.highest = origin.highest
        """Highest sequence number of the origin that was taken."""
        self._number = self._base = -1
        self._since = 0
        """Bit mask of the temporal layers since the last base layer picture."""
        self._timestamp = -1

    def stream(self, caps: LayerLimit) -> RtpStream:
        """The stream with layers up to `caps`; the nearest existing one if the track has too many already."""
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

    def _nearest(self, caps: LayerLimit) -> RtpStream:
        """The stream with the most layers within `caps`; if none is within, the one with the fewest layers."""
        within = [each for each in self.filtered if each.spatial <= caps[0] and each.temporal <= caps[1]]
        if within:
            return max(within, key=_layers)
        streams: list[RtpStream] = [*self.filtered, self._origin]
        return min(streams, key=_layers)

    def waiting(self) -> list[DownTrack]:
        """Down tracks that take some layers of this encoding and wait for others; not those in a GOP replay."""
        streams: tuple[RtpStream, ...] = (self._origin, *self.filtered)
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
        """Whether `down_track` may switch to its target at this packet, which is the next one."""
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
        """By how many sequence numbers the packet is ahead of those taken; 0 if it is late."""
        if self.highest < 0:
            return 1
        ahead = (packet.sequence - self.highest) & 0xFFFF
        return ahead if ahead < 0x8000 else 0

    def take(self, packet: Packet, layer_info: LayerInfo | None) -> bool:
        """Hands the packet to every filtered stream; False if it is late."""
        ahead = self.ahead(packet)
        if not ahead:
            for each in self.filtered:
                each.take_late(packet, layer_info)
            return False
        self.highest = packet.sequence
        if ahead > 1:
            self._since = ANY
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
        """Whether this is the first packet of a picture (all spatial layers together)."""
        return layer_info.begin and packet.timestamp != self._timestamp

    def tidy(self) -> None:
        """Removes streams without down tracks."""
        self.filtered = [each for each in self.filtered if each.down_tracks]
        if not self.filtered:
            self._origin.layer_filter = None


def _layers(stream: RtpStream) -> LayerLimit:
    return stream.spatial, stream.temporal


def filtered(encoding: LayeredStream, spatial: int = ALL_LAYERS, temporal: int = ALL_LAYERS) -> RtpStream:
    """The stream with layers up to these; the encoding itself if that is all, or if its layers cannot be distinguished."""
    if spatial == ALL_LAYERS and temporal == ALL_LAYERS:
        return encoding
    if encoding.layer_filter is None:
        layers = layer_parser_for(encoding)
        if layers is None:
            return encoding
        encoding.layer_filter = LayerFilter(encoding, layers)
    return encoding.layer_filter.stream((spatial, temporal))
