"""The session descriptions of a synthetic client: a minimal browser's offers, and answers that take all of an offer."""

from dataclasses import dataclass, field

URI_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
URI_RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
URI_TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
URI_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
URI_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

EXT_LEVEL, EXT_SEND_TIME, EXT_TRANSPORT_CC, EXT_MID, EXT_RID = 1, 2, 3, 4, 10
OPUS, VP8, RTX = 111, 96, 97


@dataclass(frozen=True, slots=True)
class Local:
    """Identity of a client: ICE credentials, fingerprint, port."""

    ufrag: str
    pwd: str
    fingerprint: str
    port: int

    def lines(self, setup: str) -> list[str]:
        return [
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.pwd}",
            f"a=fingerprint:sha-256 {self.fingerprint}",
            f"a=setup:{setup}",
            f"a=candidate:1 1 udp 2122260223 127.0.0.1 {self.port} typ host",
            "a=end-of-candidates",
        ]


@dataclass(slots=True)
class RemoteTransport:
    """Transport parameters of the server, and the SSRCs and ids that it chose."""

    ufrag: str = ""
    pwd: str = ""
    fingerprint: tuple[str, str] = ("", "")
    setup: str = ""
    address: tuple[str, int] = ("", 0)
    extensions: dict[str, int] = field(default_factory=dict)


def read(sdp: str) -> RemoteTransport:
    """Of candidates the first for UDP over IPv4 counts."""
    remote = RemoteTransport()
    for line in sdp.splitlines():
        key, _, value = line.partition(":")
        if key == "a=ice-ufrag":
            remote.ufrag = value
        elif key == "a=ice-pwd":
            remote.pwd = value
        elif key == "a=fingerprint":
            algorithm, _, digest = value.partition(" ")
            remote.fingerprint = algorithm, digest
        elif key == "a=setup":
            remote.setup = value
        elif key == "a=extmap":
            number, _, uri = value.partition(" ")
            remote.extensions[uri.split(" ")[0]] = int(number.split("/")[0])
        elif key == "a=candidate" and not remote.address[1]:
            part = value.split()
            if part[2].lower() == "udp" and "." in part[4] and part[1] == "1":
                remote.address = part[4], int(part[5])
    return remote


def offer(local: Local, audio_ssrc: int, video_ssrc: int, rids: tuple[str, ...] = ()) -> str:
    """A publisher's: opus with levels as mid 0, VP8 with retransmissions as mid 1, `rids` lowest first."""
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=msid-semantic: WMS s"]
    lines += [f"m=audio 9 UDP/TLS/RTP/SAVPF {OPUS}", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0"]
    lines += local.lines("actpass")
    lines += [
        "a=mid:0",
        f"a=extmap:{EXT_LEVEL} {URI_LEVEL}",
        *_common(),
        "a=sendonly",
        "a=msid:s a",
        "a=rtcp-mux",
        f"a=rtpmap:{OPUS} opus/48000/2",
        f"a=rtcp-fb:{OPUS} transport-cc",
        f"a=fmtp:{OPUS} minptime=10;useinbandfec=1",
        f"a=ssrc:{audio_ssrc} cname:load",
    ]
    lines += [f"m=video 9 UDP/TLS/RTP/SAVPF {VP8} {RTX}", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0"]
    lines += local.lines("actpass")
    lines += ["a=mid:1", *_common(), f"a=extmap:{EXT_RID} {URI_RID}", "a=sendonly", "a=msid:s v"]
    lines += ["a=rtcp-mux", "a=rtcp-rsize", f"a=rtpmap:{VP8} VP8/90000"]
    lines += [f"a=rtcp-fb:{VP8} {kind}" for kind in ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")]
    lines += [f"a=rtpmap:{RTX} rtx/90000", f"a=fmtp:{RTX} apt={VP8}"]
    if rids:
        lines += [f"a=rid:{rid} send" for rid in rids] + [f"a=simulcast:send {';'.join(rids)}"]
    else:
        lines += [
            f"a=ssrc-group:FID {video_ssrc} {video_ssrc + 1}",
            f"a=ssrc:{video_ssrc} cname:load",
            f"a=ssrc:{video_ssrc + 1} cname:load",
        ]
    return "\r\n".join(lines) + "\r\n"


def _common() -> list[str]:
    return [
        f"a=extmap:{EXT_SEND_TIME} {URI_SEND_TIME}",
        f"a=extmap:{EXT_TRANSPORT_CC} {URI_TRANSPORT_CC}",
        f"a=extmap:{EXT_MID} {URI_MID}",
    ]


def answer(sdp: str, local: Local) -> str:
    """Accepts every m-line of a server's offer unchanged."""
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    kept = ("a=mid:", "a=extmap:", "a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=rtcp-mux", "a=rtcp-rsize", "c=", "m=")
    for line in sdp.splitlines():
        if line.startswith("a=group:"):
            lines.append(line)
        elif line.startswith("m="):
            port = line.split(" ")[1]
            lines.append(line.replace(f" {port} ", " 9 ", 1))
            lines += local.lines("active")
        elif line.startswith(kept) and not line.startswith("a=extmap-allow"):
            if any(row.startswith("m=") for row in lines):
                lines.append(line)
        elif line in ("a=sendonly", "a=sendrecv"):
            lines.append("a=recvonly")
        elif line == "a=inactive":
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"
