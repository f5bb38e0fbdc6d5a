import pytest

from sfu.errors import BadRequest
from sfu.sdp.ice_fragment import FRAGMENT_LIMIT, LINE_LIMIT, IceFragment, fragment_of, parse_fragment

CREDENTIALS = "a=ice-ufrag:abcd\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\n"
CANDIDATE = "a=candidate:1 1 UDP 2130706431 192.0.2.1 50000 typ host generation 0\r\n"
SECTION = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
READ = [
    (CREDENTIALS, IceFragment("abcd", "a" * 22, 0)),
    (CREDENTIALS + SECTION + CANDIDATE, IceFragment("abcd", "a" * 22, 1)),
    (CREDENTIALS + SECTION + CREDENTIALS + CANDIDATE * 2, IceFragment("abcd", "a" * 22, 2)),
    (SECTION + CREDENTIALS.replace("\r\n", "\n") + "a=end-of-candidates", IceFragment("abcd", "a" * 22, 0)),
    (SECTION + CANDIDATE, IceFragment("", "", 1)),
    ("a=end-of-candidates\r\n", IceFragment("", "", 0)),
    ("v=0\r\ns= \r\n" + CREDENTIALS, IceFragment("abcd", "a" * 22, 0)),
    (
        "a=candidate:1 1 tcp 1518280447 f1e2.local 9 typ srflx raddr 0.0.0.0 rport 9 tcptype active\r\n",
        IceFragment("", "", 1),
    ),
    ("a=candidate:1 1 udp 1 2001:db8::1 9 typ relay\r\n", IceFragment("", "", 1)),
]
REFUSED = [
    "",
    "hello",
    SECTION,
    CREDENTIALS + "\r\n" + CANDIDATE,
    CREDENTIALS + "a=x\x00y\r\n",
    CREDENTIALS.replace("abcd", "a b c d"),
    CREDENTIALS.replace("abcd", "abc"),
    CREDENTIALS.replace("a" * 22, "short"),
    "a=ice-ufrag:abcd\r\n",
    CREDENTIALS + SECTION + CREDENTIALS.replace("abcd", "efgh"),
    "a=candidate:1\r\n",
    "a=candidate:1 1 udp x 192.0.2.1 50000 typ host\r\n",
    CANDIDATE * 65,
    "a=x\r\n" * (LINE_LIMIT + 1),
    "a=" + "x" * FRAGMENT_LIMIT,
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_parse(text: str, expected: IceFragment) -> None:
    assert parse_fragment(text) == expected


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_fragment(text)


def test_the_ice_part_of_an_answer() -> None:
    transport = f"{CREDENTIALS}a=fingerprint:sha-256 AA\r\na=setup:passive\r\n"
    answer = (
        "v=0\r\ns=-\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\nm=text 0 x 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
        f"{transport}{CANDIDATE}a=end-of-candidates\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n{transport}"
    )
    fragment = fragment_of(answer)
    assert fragment == (
        f"a=ice-lite\r\n{CREDENTIALS}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{CANDIDATE}a=end-of-candidates\r\n"
    )
    assert parse_fragment(fragment) == IceFragment("abcd", "a" * 22, 1)
