"""The server's part of every description: ICE-lite transport and certificate.

RFC 8445 appendix A (ICE-lite), RFC 8839 (candidates), RFC 8122 (fingerprints), RFC 9429 5.2 (order of the lines).
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """ICE credentials and candidates for one peer."""

    ufrag: str
    pwd: str
    fingerprint_sha256: str
    "Upper-case hexadecimal bytes, separated by colons."
    candidates: tuple[tuple[str, int, int, str, str], ...]
    "(address, port, priority, foundation, protocol `udp` or `tcp`)."


def session_lines(session_id: int | str, session_version: int, bundle: Iterable[str]) -> list[str]:
    """Session-level lines. Without m-lines to bundle there is no group."""
    lines = [
        "v=0",
        f"o=- {session_id} {session_version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS *",
    ]
    mids = " ".join(bundle)
    if mids:
        lines.append(f"a=group:BUNDLE {mids}")
    return lines


def transport_lines(local: LocalTransport, setup: str) -> str:
    """ICE credentials and DTLS identity, identical for every bundled m-line."""
    return (
        f"a=ice-ufrag:{local.ufrag}\r\na=ice-pwd:{local.pwd}\r\n"
        f"a=fingerprint:sha-256 {local.fingerprint_sha256}\r\na=setup:{setup}"
    )


def candidate_lines(local: LocalTransport) -> list[str]:
    """The list is complete, so it ends with end-of-candidates (RFC 8838 13)."""
    lines = [
        f"a=candidate:{foundation} 1 {protocol} {priority} {address} {port} typ host"
        + (" tcptype passive" if protocol == "tcp" else "")
        for address, port, priority, foundation, protocol in local.candidates
    ]
    lines.append("a=end-of-candidates")
    return lines


def application_lines(mid: str, port: int, max_message_size: int, protocol: str = "UDP/DTLS/SCTP") -> list[str]:
    """Data channel m-line without its transport attributes (RFC 8841)."""
    return [
        f"m=application 9 {protocol} webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a=sctp-port:{port}",
        f"a=max-message-size:{max_message_size}",
    ]
