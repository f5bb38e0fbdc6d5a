"""One synthetic WebRTC connection: a raw UDP socket that does ICE checks and DTLS for real, then sends or counts SRTP.

It does what a browser does beside media, so that the measurement includes the server's control work: consent checks
every 2.5 s, receiver reports and sender reports every second, transport-wide feedback every 100 ms, keyframes on request.
"""

import contextlib
import secrets
import socket
import struct
import time
from typing import Any

from aioice import stun
from pylibsrtp import Error, Policy, Session

from sfu.bandwidth.twcc import Recorder
from sfu.rtp import rtcp
from sfu.transport.dtls import DtlsAssociation, Identity, State
from tests.bench import descriptions
from tests.bench.descriptions import URI_TRANSPORT_CC, Local, RemoteTransport
from tests.bench.media import Checked, Counters, Encoding
from tests.bench.reactor import Reactor

CONSENT_EVERY = 2.5
FEEDBACK_EVERY = 0.1
MIN_REPORT_INTERVAL = 1.0
CHECK_EVERY = 0.05
RESEND_EVERY = 0.05
SO_TIMESTAMPNS = 35
SOL_UDP, UDP_SEGMENT = 17, 103
NTP_EPOCH = 2_208_988_800

_RTP = struct.Struct("!HII")
_TIMESPEC = struct.Struct("@qq")


class LoadPeer:
    """A publishing or a subscribing connection. `sampled`: what arrives is decrypted and checked."""

    def __init__(self, reactor: Reactor, identity: Identity, *, sampled: bool = False) -> None:
        self._reactor = reactor
        self._identity = identity
        self.sampled = sampled
        sock = self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 2 << 20)
        if sampled:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("", 0))
        sock.setblocking(False)
        self.local = Local(secrets.token_hex(4), secrets.token_hex(12), identity.fingerprint, sock.getsockname()[1])
        self.remote = RemoteTransport()
        self.connected = False
        self.closed = False
        self.received = 0
        self.received_bytes = 0
        self.nacked = 0
        self.keyframes_asked = 0
        self.checked: dict[int, Checked] = {}
        self.counters = Counters()
        self.encodings: dict[int, Encoding] = {}
        self.profile = ""
        self._buffer = bytearray(2048)
        self._view = memoryview(self._buffer)
        self._dtls: DtlsAssociation | None = None
        self._flight: list[bytes] = []
        self._checked = False
        self._tx: Session | None = None
        self._rx: Session | None = None
        self._ssrc = secrets.randbits(31)
        self._recorder = Recorder(self._ssrc)
        self._twcc_byte = 0
        self._highest: dict[int, int] = {}
        self._reports: dict[int, tuple[int, float]] = {}
        self._twcc_ssrc = 0
        reactor.add_reader(sock.fileno(), self._readable)

    # -- setting up -------------------------------------------------------------------------------------------------

    def start(self, sdp: str, *, offered: bool) -> None:
        """With the server's description; `offered`: it is an offer, so we take the active part in DTLS."""
        remote = descriptions.read(sdp)
        number = remote.extensions.get(URI_TRANSPORT_CC, 0)
        self._twcc_byte = number << 4 | 1 if number else 0
        if self._dtls is not None:
            return
        self.remote = remote
        role = "client" if offered or remote.setup == "passive" else "server"
        self._sock.connect(remote.address)
        self._dtls = DtlsAssociation(self._identity, "client" if role == "client" else "server", [remote.fingerprint])
        self._check()

    def _check(self) -> None:
        if self.closed:
            return
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{self.remote.ufrag}:{self.local.ufrag}"
        request.attributes["PRIORITY"] = 1853824767
        request.attributes["ICE-CONTROLLING"] = 0x1122334455667788
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(self.remote.pwd.encode())
        self._send(bytes(request))
        every = CONSENT_EVERY if self._checked else CHECK_EVERY
        self._reactor.call_at(time.monotonic() + every, self._check)

    def _send(self, data: bytes) -> None:
        # refused for the moment: ICE and DTLS send again
        with contextlib.suppress(OSError):
            self._sock.send(data)

    def _stun_received(self, data: bytes) -> None:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return
        if message.message_class == stun.Class.REQUEST:
            answer = stun.Message(
                message_method=stun.Method.BINDING,
                message_class=stun.Class.RESPONSE,
                transaction_id=message.transaction_id,
            )
            answer.attributes["XOR-MAPPED-ADDRESS"] = self.remote.address
            answer.add_message_integrity(self.local.pwd.encode())
            self._send(bytes(answer))
        elif message.message_class == stun.Class.RESPONSE and not self._checked:
            self._checked = True
            assert self._dtls is not None
            if self._dtls.state is State.NEW:
                self._dtls.start()
                self._after_dtls()
                self._reactor.call_at(time.monotonic() + RESEND_EVERY, self._handshake_timer)

    def _handshake_timer(self) -> None:
        """Sends a flight again after 50 ms, like browsers; OpenSSL's own first timeout is a second."""
        dtls = self._dtls
        if dtls is not None and dtls.state is State.HANDSHAKING and not self.closed:
            for datagram in self._flight:
                self._send(datagram)
            self._reactor.call_at(time.monotonic() + RESEND_EVERY, self._handshake_timer)

    def _dtls_received(self, data: bytes) -> None:
        dtls = self._dtls
        if dtls is None:
            return
        if dtls.state is State.NEW:
            dtls.start()  # a passive side that hears the other before the answer to its check
        dtls.receive(data)
        self._after_dtls()

    def _after_dtls(self) -> None:
        dtls = self._dtls
        assert dtls is not None
        flight = dtls.packets_to_send()
        if flight:
            self._flight = flight
        for datagram in flight:
            self._send(datagram)
        if dtls.state is State.CLOSED and not self.closed:
            raise ConnectionError(f"DTLS: {dtls.failure}")
        if dtls.keys is not None and not self.connected:
            keys = dtls.keys
            self.profile = keys.profile.name.decode()
            self._tx = Session(
                Policy(key=keys.send, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=keys.profile.libsrtp)
            )
            self._rx = Session(
                Policy(key=keys.receive, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=keys.profile.libsrtp)
            )
            self.connected = True
            now = time.monotonic()
            # at a random time: simultaneous reports of many peers would be an additional load
            self._reactor.call_at(now + secrets.randbelow(1000) / 1000 * MIN_REPORT_INTERVAL, self._report)
            self._reactor.call_at(now + secrets.randbelow(1000) / 1000 * FEEDBACK_EVERY, self._feedback)

    # -- receiving --------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        buffer, view = self._buffer, self._view
        receive = self._sock.recv_into
        twcc, record, highest = self._twcc_byte, self._recorder.record, self._highest
        arrival = 0
        now = time.monotonic()
        try:
            while True:
                if self.sampled:
                    n, ancillary, _, _ = self._sock.recvmsg_into((buffer,), 64)
                    if ancillary:
                        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                        arrival = seconds * 1_000_000_000 + nanoseconds
                else:
                    n = receive(buffer)
                first = buffer[0]
                if 127 < first < 192:
                    if 191 < buffer[1] < 224:
                        self._rtcp_received(bytes(view[:n]))
                        continue
                    self.received += 1
                    self.received_bytes += n
                    sequence, _, ssrc = _RTP.unpack_from(buffer, 2)
                    highest[ssrc] = sequence
                    if twcc and first & 0x10:
                        at = 16
                        end = 16 + 4 * (buffer[14] << 8 | buffer[15])
                        while at < end:
                            head = buffer[at]
                            if head == twcc:
                                record(buffer[at + 1] << 8 | buffer[at + 2], now)
                                break
                            at += (head & 15) + 2 if head else 1
                    if self.sampled:
                        self._check_media(bytes(view[:n]), ssrc, arrival)
                elif first < 4:
                    self._stun_received(bytes(view[:n]))
                elif 19 < first < 64:
                    self._dtls_received(bytes(view[:n]))
        except (BlockingIOError, ConnectionRefusedError):
            pass

    def _check_media(self, data: bytes, ssrc: int, arrival: int) -> None:
        if self._rx is None:
            return
        checked = self.checked.get(ssrc)
        if checked is None:
            checked = self.checked[ssrc] = Checked()
        try:
            opened = self._rx.unprotect(data)
        except Error:
            checked.broken += 1
            return
        checked.take(opened, arrival)

    def _rtcp_received(self, data: bytes) -> None:
        if self._rx is None:
            return
        try:
            packets = rtcp.parse(self._rx.unprotect_rtcp(data))
        except (Error, ValueError):
            return
        for packet in packets:
            if isinstance(packet, rtcp.SenderReport):
                self._reports[packet.ssrc] = (packet.ntp >> 16 & 0xFFFFFFFF, time.monotonic())
            elif isinstance(packet, rtcp.PictureLossIndication):
                self._keyframe_wanted(packet.media_ssrc)
            elif isinstance(packet, rtcp.FullIntraRequest):
                for ssrc, _ in packet.entries:
                    self._keyframe_wanted(ssrc)
            elif isinstance(packet, rtcp.Nack):
                self.nacked += len(packet.lost)

    def _keyframe_wanted(self, ssrc: int) -> None:
        self.keyframes_asked += 1
        encoding = self.encodings.get(ssrc)
        if encoding is not None:
            encoding.keyframe_wanted = True

    # -- sending ----------------------------------------------------------------------------------------------------

    def send_frame(self, encoding: Encoding, packets: int, elapsed: float) -> None:
        """The packets of a frame leave in one system call: a burst, like one from a network."""
        tx = self._tx
        if tx is None or self.closed:
            return
        sealed = [tx.protect(packet) for packet in encoding.frame(packets, elapsed)]
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            if packets == 1:
                self._sock.send(sealed[0])
            else:
                self._sock.sendmsg(sealed, [(SOL_UDP, UDP_SEGMENT, struct.pack("H", len(sealed[0])))])

    def _send_rtcp(self, data: bytes) -> None:
        if self._tx is not None:
            self._send(self._tx.protect_rtcp(data))

    def _feedback(self) -> None:
        if self.closed:
            return
        for packet in self._recorder.feedback(next(iter(self._highest), 0)):
            self._send_rtcp(packet)
        self._reactor.call_at(time.monotonic() + FEEDBACK_EVERY, self._feedback)

    def _report(self) -> None:
        if self.closed:
            return
        self._reactor.call_at(time.monotonic() + MIN_REPORT_INTERVAL, self._report)
        now = time.monotonic()
        compound = b""
        blocks = []
        for ssrc, sequence in list(self._highest.items())[:31]:
            lsr, at = self._reports.get(ssrc, (0, now))
            blocks.append(rtcp.ReportBlock(ssrc, 0, 0, sequence, 0, lsr, int((now - at) * 65536) if lsr else 0))
        if blocks:
            compound = rtcp.encode_receiver_report(rtcp.ReceiverReport(self._ssrc, tuple(blocks)))
        ntp = int((time.time() + NTP_EPOCH) * 2**32)
        for encoding in self.encodings.values():
            if encoding.sent:
                report = rtcp.SenderReport(encoding.ssrc, ntp, encoding.timestamp, encoding.sent, encoding.octets)
                compound += rtcp.encode_sender_report(report)
                compound += rtcp.encode_source_description(encoding.ssrc, "load")
        if compound:
            self._send_rtcp(compound)

    def reset(self) -> None:
        """Counters to zero, before a measured stretch."""
        self.received = self.received_bytes = self.nacked = 0
        self.checked.clear()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._reactor.remove_reader(self._sock.fileno())
            self._sock.close()

    def __repr__(self) -> str:
        state: dict[str, Any] = {"checked": self._checked, "dtls": self._dtls.state.name if self._dtls else None}
        return f"<LoadPeer {self.local.ufrag} to {self.remote.address} {state}>"
