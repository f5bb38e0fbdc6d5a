"""Recorded browser descriptions, and edited variants."""

from pathlib import Path

from sfu.sdp.local import LocalTransport

DIRECTORY = Path(__file__).parent.parent / "data" / "sdp"
NAMES = sorted(path.name for path in DIRECTORY.glob("*.sdp"))
OFFERS = [name for name in NAMES if name.endswith("browser-offer.sdp")]
LOCAL = LocalTransport(
    "ourUfrag",
    "ourPassword0123456789abc",
    ":".join(["AB"] * 32),
    (("192.0.2.1", 5000, 2130706431, "1", "udp"), ("2001:db8::1", 5000, 2130706175, "2", "udp")),
)


def sample(name: str) -> str:
    return (DIRECTORY / name).read_bytes().decode()


def offer_case(name: str) -> str:
    """A valid but unusual offer of a real client."""
    return (DIRECTORY / "offers" / f"{name}.sdp").read_bytes().decode()


def section(lines: str, *, kind: str = "video", port: int = 9, formats: str = "96 97", mid: str = "0") -> str:
    """A complete offer with one m-line that contains `lines`."""
    digest = ":".join(["AB"] * 32)
    head = f"v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE {mid}\n"
    media = f"m={kind} {port} UDP/TLS/RTP/SAVPF {formats}\nc=IN IP4 0.0.0.0\na=mid:{mid}\na=rtcp-mux\n"
    ice = f"a=ice-ufrag:abcd\na=ice-pwd:{'x' * 24}\na=fingerprint:sha-256 {digest}\na=setup:actpass\n"
    return head + media + ice + lines
