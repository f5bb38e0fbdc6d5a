"""Sends packets again: those that subscribers report as lost (NACK), and recent ones as padding for bandwidth probes.

Over RTX (RFC 4588), or byte for byte for subscribers without RTX. `now` is monotonic seconds.
"""

from typing import Final

from sfu.forwarding import fanout
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.offsets import Offsets
from sfu.forwarding.packet import Packet
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.rtcp_budget import LOOKUP, REPAIR
from sfu.rtp import rtcp

PADDING_DEPTH: Final = 200
"""Newest packets of a stream that are retransmitted as padding."""


class Retransmitter:
    """Belongs to one engine. What may be retransmitted is the down track's decision (resend_limits.py)."""

    def __init__(self, encryptor: fanout.SrtpEncryptor) -> None:
        self._encryptor = encryptor

    def resend(self, peer: EnginePeer, nack: rtcp.Nack, now: float) -> bool:
        """Answers a NACK of a subscriber. False if the work that its RTCP may cause is used up."""
        down_track = peer.down_tracks.get(nack.media_ssrc)
        if down_track is None or nack.media_ssrc != down_track.ssrc:
            return True
        spend = peer.rtcp_budget.spend
        peer.counters.nacks_received += len(nack.lost)
        downlink = peer.downlink
        is_lossy_link = downlink.estimator.is_lossy_link if downlink is not None else None
        for sequence in nack.lost:
            if not spend(LOOKUP):
                return False
            if down_track.datagrams is not None:
                datagram = down_track.datagram_to_resend(sequence, now, is_lossy_link=is_lossy_link)
                if datagram is not None:
                    if not spend(REPAIR):
                        return False
                    fanout.resend_datagram(down_track, datagram)
                continue
            found = down_track.packet_to_resend(sequence, now, is_lossy_link=is_lossy_link)
            if found is not None:
                # Twice on a lossy link: a lost retransmission costs another round trip.
                for _ in range(2 if is_lossy_link else 1):
                    if not spend(REPAIR):
                        return False
                    self._repair(down_track, *found, now)
        return True

    def send_padding(self, peer: EnginePeer, size: int, now: float) -> None:
        """Sends about `size` bytes: recent packets again as RTX packets, or pure padding if nothing is being sent."""
        idle: DownTrack | None = None
        for down_track in peer.media_down_tracks():
            encoding = down_track.current
            if down_track.track.kind != "video" or down_track.rtx_payload_type is None:
                continue
            idle = down_track
            if encoding is None:
                continue
            for back in range(PADDING_DEPTH):
                packet = encoding.find((encoding.forwarded - back) & 0xFFFF)
                if packet is None:
                    continue
                if (
                    size <= 0
                    or down_track.switch_history.is_before(packet)
                    or not self._repair(down_track, down_track.offsets, packet, now)
                ):
                    break
                size -= packet.size
            break
        while idle is not None and size > 0:
            number = peer.twcc_number
            sent = fanout.send_padding(idle, self._encryptor)
            if not sent:
                return
            if idle.on_sent is not None:
                idle.on_sent((number, (sent,), now))
            size -= sent

    def _repair(self, down_track: DownTrack, offsets: Offsets, packet: Packet, now: float) -> bool:
        number = down_track.peer.twcc_number
        sent = fanout.resend(down_track, offsets, packet, self._encryptor)
        if sent and down_track.on_sent is not None:
            down_track.on_sent((number, (packet.size + 2,), now))
        return sent
