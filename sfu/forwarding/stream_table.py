"""The inbound streams of one peer: which SSRC belongs to which encoding, and how many SSRCs libsrtp keeps state for.

Streams are bound to encodings by MID and RID (RFC 8843 9.2, RFC 8852), else by the SSRCs that the offer declares, else by
payload type if only one track has it. Repair streams are bound by RRID or by the declared FID pair.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from sfu.forwarding.encoding import Encoding
from sfu.forwarding.track import Track

SSRC_LIMIT: Final = 128
"""Streams that one peer may send: 16 cameras with three layers and repair streams are 96. Packets of further streams are
dropped before decryption, because libsrtp gets slower with every SSRC."""
REBIND_PAUSE: Final = 1.0
"""Seconds before an encoding may change its SSRC again: each change moves all its down tracks."""
REBIND_SILENCE: Final = 0.25
"""Seconds of silence before a stream without a RID may change its SSRC. Two such streams at the same time are undeclared
simulcast layers, of which only one is used."""
REPORTER_LIMIT: Final = 192
"""SSRCs from which one peer may send RTCP."""
LIFETIME_LIMIT: Final = 512
"""SSRCs of one peer that libsrtp keeps state for. Beyond it, the oldest SSRCs of removed tracks are forgotten."""


class StreamLimits(NamedTuple):
    """How many SSRCs one peer may use."""

    streams: int = SSRC_LIMIT
    reporters: int = REPORTER_LIMIT
    lifetime: int = LIFETIME_LIMIT
    declared_only: bool = False
    "Drop packets of SSRCs that no track declares, before decryption."


CLIENT_LIMITS: Final = StreamLimits()
NODE_LIMITS: Final = StreamLimits(1024, 16, 1280, declared_only=True)
"""Limits of another node of the cluster, whose streams we number. libsrtp takes 4.5 µs per packet with 1,024 streams."""


class StreamTable:
    """Belongs to one peer. `tracks` is the peer's table of tracks by mid."""

    __slots__ = ("_tracks", "by_ssrc", "feedback_ssrc", "forget", "limits", "opened", "reporters", "retired")

    def __init__(self, tracks: Mapping[str, Track], limits: StreamLimits = CLIENT_LIMITS) -> None:
        self._tracks = tracks
        self.limits = limits
        self.by_ssrc: dict[int, tuple[Encoding, bool] | None] = {}
        """SSRC → (encoding, whether it is the repair stream); None: seen, but not bound (yet)."""
        self.opened: set[int] = set()
        """SSRCs that the SRTP session keeps state for."""
        self.reporters: set[int] = set()
        """SSRCs that it keeps SRTCP state for."""
        self.retired: dict[int, None] = {}
        """SSRCs of removed tracks, oldest first: their state may be forgotten."""
        self.forget: Callable[[int], object] | None = None
        """Makes the SRTP session forget an SSRC."""
        self.feedback_ssrc = 0
        """A live media SSRC: libwebrtc ignores feedback whose media SSRC it does not know."""

    # -- binding ----------------------------------------------------------------------------------------------------

    def bind(
        self, ssrc: int, payload_type: int, mid: str | None, rid: str | None, repaired: str | None, now: float
    ) -> tuple[Encoding, bool] | None:
        """Binds the first packet of an SSRC to an encoding; None if the limit is reached or no encoding fits (yet)."""
        if self.exceeds_ssrc_limit(ssrc):
            return None
        self.opened.add(ssrc)
        found = self.by_ssrc[ssrc] = self._find(ssrc, payload_type, mid, rid, repaired, now)
        if found is not None:
            self.retired.pop(ssrc, None)
        return found

    def _find(
        self, ssrc: int, payload_type: int, mid: str | None, rid: str | None, repaired: str | None, now: float
    ) -> tuple[Encoding, bool] | None:
        for track in self._tracks.values():
            repair = payload_type in track.rtx
            if not repair and payload_type not in track.payload_types:
                continue
            if mid is not None:
                if mid != track.mid:
                    continue
            elif sum(payload_type in t.rtx or payload_type in t.payload_types for t in self._tracks.values()) > 1:
                continue
            encoding = track.encodings.get((repaired or rid or "") if repair else (rid or ""))
            if encoding is None:
                continue
            if repair:
                if not repaired and encoding.rtx_ssrc and encoding.repaired_ssrc == encoding.ssrc:
                    return None  # the repair stream of another encoding without a RID
                self.unbind(encoding.rtx_ssrc)
                encoding.rtx_ssrc, encoding.repaired_ssrc = ssrc, encoding.ssrc
            else:
                if now - encoding.bound_at < REBIND_PAUSE or (not rid and now - encoding.last_arrival < REBIND_SILENCE):
                    return None
                if encoding.ssrc:
                    encoding = self._rebind(track, encoding)
                encoding.ssrc = ssrc
                encoding.bound_at = now
                self.feedback_ssrc = ssrc
            return encoding, repair
        return None

    def _rebind(self, track: Track, old: Encoding) -> Encoding:
        """The encoding continues under another SSRC."""
        self.unbind(old.ssrc)
        new = track.replace_encoding(old)
        repair = self.by_ssrc.get(old.rtx_ssrc)
        if repair is not None and repair[1]:
            self.by_ssrc[old.rtx_ssrc] = (new, True)
        return new

    def bind_declared_ssrcs(self, track: Track, ssrcs: Sequence[tuple[int, int | None]]) -> None:
        """Binds the SSRCs of the offer's a=ssrc lines, (media, repair) for each encoding in order."""
        for encoding, (ssrc, rtx_ssrc) in zip(track.encodings.values(), ssrcs, strict=False):
            if self._reserve(ssrc, (encoding, False)):
                encoding.ssrc = ssrc
                self.feedback_ssrc = self.feedback_ssrc or ssrc
            if rtx_ssrc is not None and self._reserve(rtx_ssrc, (encoding, True)):
                encoding.rtx_ssrc, encoding.repaired_ssrc = rtx_ssrc, ssrc

    def _reserve(self, ssrc: int, bound: tuple[Encoding, bool]) -> bool:
        """Binds a declared SSRC; False if another stream uses it or the limit is reached."""
        if self.by_ssrc.get(ssrc) is not None or self._is_full(ssrc):
            return False
        self.by_ssrc[ssrc] = bound
        self.opened.add(ssrc)
        self.retired.pop(ssrc, None)
        return True

    def unbind(self, ssrc: int) -> None:
        """Removes a stream. libsrtp keeps its state while there is room, so that its packets cannot be replayed."""
        if self.by_ssrc.pop(ssrc, None) is not None:
            self.retired[ssrc] = None
        if ssrc == self.feedback_ssrc:
            self.feedback_ssrc = next((s for s, bound in self.by_ssrc.items() if bound and not bound[1]), 0)

    def drop_unbound(self) -> None:
        """Forgets which SSRCs fitted no track: a new track may fit them."""
        for ssrc in [ssrc for ssrc, bound in self.by_ssrc.items() if bound is None]:
            del self.by_ssrc[ssrc]

    # -- limits -----------------------------------------------------------------------------------------------------

    def exceeds_ssrc_limit(self, ssrc: int) -> bool:
        """Whether a packet of `ssrc` would be one stream too many. Asked before libsrtp sees the packet."""
        return ssrc not in self.by_ssrc and (self.limits.declared_only or self._is_full(ssrc))

    def _is_full(self, ssrc: int) -> bool:
        if ssrc in self.by_ssrc:
            return False
        if len(self.by_ssrc) >= self.limits.streams:
            return True
        return ssrc not in self.opened and len(self.opened) >= self.limits.lifetime and not self._forget_oldest()

    def exceeds_reporter_limit(self, ssrc: int) -> bool:
        """The same for RTCP from `ssrc`."""
        while ssrc not in self.reporters and len(self.reporters) >= self.limits.reporters:
            if not self._forget_oldest():
                return True
        return False

    def _forget_oldest(self) -> bool:
        """Makes room for one stream; False if no SSRC of a removed track is left."""
        if not self.retired:
            return False
        ssrc = next(iter(self.retired))
        del self.retired[ssrc]
        self.opened.discard(ssrc)
        self.reporters.discard(ssrc)
        if self.forget is not None:
            self.forget(ssrc)
        return True

    @property
    def spare(self) -> int:
        """How many further streams the peer may send in its lifetime."""
        return self.limits.lifetime - len(self.opened) + len(self.retired)
