"""A WebRTC client of a few lines over a real UDP or TCP socket: STUN checks, DTLS in either role, SRTP. For transport tests."""

import hashlib
import hmac
import os
import socket
import struct
import time
import zlib
from collections.abc import Callable, Sequence

from sfu.sdp.answer import accept_offer
from sfu.sdp.description import parse
from sfu.transport.dtls import DtlsAssociation, Identity, Role, State
from sfu.transport.publisher import PublisherConnection, TrackDeclaration
from sfu.transport.reports import Negotiated
from sfu.transport.srtp import SrtpSession

MAGIC = 0x2112A442


def binding_request(username: str, password: str, *, nominate: bool = True) -> bytes:
    """A connectivity check (RFC 8445 7.1) with MESSAGE-INTEGRITY and FINGERPRINT."""
    name = username.encode()
    attributes = struct.pack("!HH", 0x0006, len(name)) + name + bytes(-len(name) % 4)
    attributes += struct.pack("!HHI", 0x0024, 4, 1) + struct.pack("!HHQ", 0x802A, 8, 7)
    if nominate:
        attributes += struct.pack("!HH", 0x0025, 0)
    transaction = os.urandom(12)

    def message(length: int, body: bytes) -> bytes:
        return struct.pack("!HHI", 1, length, MAGIC) + transaction + body

    digest = hmac.new(password.encode(), message(len(attributes) + 24, attributes), hashlib.sha1).digest()
    attributes += struct.pack("!HH", 0x0008, 20) + digest
    crc = zlib.crc32(message(len(attributes) + 8, attributes)) ^ 0x5354554E
    return message(len(attributes) + 8, attributes + struct.pack("!HHI", 0x8028, 4, crc))


def negotiate(publisher: PublisherConnection, sdp: str, tracks: Sequence[TrackDeclaration]) -> Negotiated:
    """Parses an offer as signalling does and passes it to the publishing connection."""
    return publisher.negotiate(accept_offer(parse(sdp)), tracks)


class FramedSocket(socket.socket):
    """A TCP socket that RawPeer uses like a UDP socket; connects with the first datagram (RFC 4571)."""

    def __init__(self, host: str) -> None:
        super().__init__(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self._connected = False
        self._received = bytearray()

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:  # type: ignore[override]  # RawPeer calls this form only
        if not self._connected:
            self.connect(address)
            self.setblocking(False)
            self._connected = True
        self.sendall(struct.pack("!H", len(data)) + data)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._connected:
            raise BlockingIOError
        while True:
            end = 2 + int.from_bytes(self._received[:2], "big")
            if len(self._received) >= max(3, end):
                frame = bytes(self._received[2:end])
                del self._received[:end]
                return frame
            data = super().recv(65536)
            if not data:
                raise ConnectionResetError
            self._received += data


class RawPeer:
    """One client. `offer()` and `answer()` make its SDP; `connect` does the rest and returns when keys are there."""

    def __init__(self, identity: Identity | None = None, *, host: str = "127.0.0.1", tcp: bool = False) -> None:
        self.identity = identity or Identity()
        self.protocol = "tcp" if tcp else "udp"
        self.sock: socket.socket = FramedSocket(host) if tcp else _udp_socket(host)
        self.ufrag, self.pwd = "raw1", "raw-password-of-22-chars"
        self.dtls: DtlsAssociation | None = None
        self.server: tuple[str, int] = ("", 0)
        self.received: list[bytes] = []
        self.tx: SrtpSession | None = None
        self.rx: SrtpSession | None = None

    def transport_lines(self, setup: str) -> str:
        return (
            f"a=ice-ufrag:{self.ufrag}\r\na=ice-pwd:{self.pwd}\r\n"
            f"a=fingerprint:sha-256 {self.identity.fingerprint}\r\na=setup:{setup}\r\n"
        )

    def offer(self, *, setup: str = "actpass", data: bool = False) -> str:
        lines = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
        lines += "a=group:BUNDLE 0 1" + (" 2" if data else "") + "\r\n"
        lines += (
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n"
            "a=rtpmap:111 opus/48000/2\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
            "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
        ) + self.transport_lines(setup)
        lines += (
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n"
            "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\n"
            "a=fmtp:97 apt=96\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
        ) + self.transport_lines(setup)
        if data:
            lines += (
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n"
                + self.transport_lines(setup)
            )
        return lines

    def answer(self, offer: str, *, setup: str = "active") -> str:
        """Accepts every m-line of the server's offer unchanged."""
        out = []
        for line in offer.split("\r\n"):
            key = line.split(":")[0]
            if key in ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=candidate", "a=ssrc", "a=ssrc-group", "a=msid"):
                continue
            if line in ("a=ice-lite", "a=end-of-candidates"):
                continue
            if key == "a=setup":
                out.append(self.transport_lines(setup).rstrip())
            elif line == "a=sendonly":
                out.append("a=recvonly")
            else:
                out.append(line)
        return "\r\n".join(out)

    def use(self, sdp: str, *, role: Role) -> None:
        """Takes the server's credentials, address and fingerprint out of its SDP."""
        attributes = dict(
            line[2:].split(":", 1) for line in reversed(sdp.split("\r\n")) if line.startswith("a=") and ":" in line
        )
        self.remote_ufrag, self.remote_pwd = attributes["ice-ufrag"], attributes["ice-pwd"]
        wanted = "." if self.sock.family == socket.AF_INET else ":"
        for line in sdp.split("\r\n"):
            if line.startswith("a=candidate:"):
                words = line.split()
                if wanted in words[4] and words[2] == self.protocol:
                    self.server = (words[4], int(words[5]))
        if self.dtls is None:
            algorithm, value = attributes["fingerprint"].split(" ")
            self.dtls = DtlsAssociation(self.identity, role, [(algorithm, value)])
            if role == "server":
                self.dtls.start()

    def check(self, *, nominate: bool = True, password: str | None = None) -> None:
        request = binding_request(f"{self.remote_ufrag}:{self.ufrag}", password or self.remote_pwd, nominate=nominate)
        self.sock.sendto(request, self.server)

    def pump(self) -> None:
        """Reads what is there, answers as DTLS wants."""
        dtls = self.dtls
        assert dtls is not None
        while True:
            try:
                data = self.sock.recv(4096)
            except BlockingIOError:
                break
            if 19 < data[0] < 64:
                dtls.receive(data)
            else:
                if data[:2] == b"\x01\x01" and dtls.state is State.NEW:
                    dtls.start()
                self.received.append(data)
        due = dtls.next_timeout()
        if due is not None and due <= 0:
            dtls.handle_timeout()  # a flight was lost
        for datagram in dtls.packets_to_send():
            self.sock.sendto(datagram, self.server)
        if dtls.keys is not None and self.tx is None:
            self.tx = SrtpSession(dtls.keys.profile, dtls.keys.send, outbound=True)
            self.rx = SrtpSession(dtls.keys.profile, dtls.keys.receive, outbound=False)

    def send(self, packet: bytes) -> None:
        assert self.tx is not None
        self.sock.sendto(self.tx.session.protect(packet), self.server)

    def media(self) -> list[bytes]:
        """Opened RTP packets since the last call."""
        assert self.rx is not None
        self.pump()
        out, self.received = [d for d in self.received if 127 < d[0] < 192 and not 191 < d[1] < 224], []
        return [self.rx.session.unprotect(data) for data in out]

    def close(self) -> None:
        self.sock.close()


def _udp_socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock


def until(done: Callable[[], object], step: Callable[[], None], seconds: float = 20.0) -> None:
    """For tests without a loop: steps until `done`, or fails."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "nothing came of it in time"
        step()
        time.sleep(0.002)
