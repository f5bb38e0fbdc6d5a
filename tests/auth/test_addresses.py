"""Client addresses behind reverse proxies, also with forged headers from the client."""

import ipaddress
import time

import pytest

from sfu.auth.addresses import MAX_HOPS, UNKNOWN, ClientAddresses
from tests.support.cpu import attempts

PROXIES = tuple(ipaddress.ip_network(words) for words in ("10.0.0.0/8", "::1", "fc00::/7"))
REAL, FORGED = "198.51.100.7", "1.1.1.1"


def client(peer: str, *lines: str, name: str = "X-Forwarded-For", header: str = "", any_peer: bool = False) -> str:
    return ClientAddresses(PROXIES, header=header, any_peer=any_peer).client(peer, [(name, line) for line in lines])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((REAL,), REAL),
        ((f"{FORGED}, {REAL}",), REAL),
        ((FORGED, REAL), REAL),
        ((FORGED, f"{FORGED}, {REAL}"), REAL),
        ((f"{FORGED}, {REAL}", "10.9.9.9"), REAL),
        ((FORGED, REAL, "10.9.9.9, 10.1.1.1"), REAL),
        ((REAL, ""), REAL),
        ((f"{REAL},, ,",), REAL),
        ((f" \t{REAL}\t ",), REAL),
        ((f"{REAL}:4711",), REAL),
        ((f'"{REAL}"',), REAL),
        (("2001:db8::17",), "2001:db8::17"),
        (("2001:DB8:0:0:0:0:0:17",), "2001:db8::17"),
        (("[2001:db8::17]",), "2001:db8::17"),
        (("[2001:db8::17]:4711",), "2001:db8::17"),
        (("fe80::1%eth0",), "fe80::1"),
        ((f"::ffff:{REAL}",), REAL),
        (("::ffff:10.1.1.1", ), "10.1.1.1"),
        ((f"{REAL}, ::ffff:10.1.1.1",), REAL),
        (("10.3.3.3, 10.2.2.2",), "10.3.3.3"),
        ((f"{FORGED}, unknown",), UNKNOWN),
        ((f"{FORGED}, _hidden",), UNKNOWN),
        ((f"{FORGED}, x" * 100,), UNKNOWN),
        ((f"{FORGED}, 256.1.1.1",), UNKNOWN),
        ((f"{FORGED}, 1.2.3",), UNKNOWN),
        ((f"{FORGED}, 127.1",), UNKNOWN),
        ((f"{FORGED}, 0x7f.0.0.1",), UNKNOWN),
        ((f"{FORGED}, {REAL}:port",), UNKNOWN),
        ((f"{FORGED}, [{REAL}",), UNKNOWN),
        ((f"{FORGED} {REAL}",), UNKNOWN),
        ((" , ",), "10.0.0.1"),
        (("",), "10.0.0.1"),
        ((), "10.0.0.1"),
    ],
)  # fmt: skip
def test_x_forwarded_for(lines: tuple[str, ...], expected: str) -> None:
    assert client("10.0.0.1", *lines) == expected
    assert client("::ffff:10.0.0.1", *lines) in (expected, "::ffff:10.0.0.1")
    assert client("10.0.0.1", *lines, name="x-forwarded-for") == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((f"for={REAL}",), REAL),
        ((f"For={REAL};proto=https;by=10.0.0.1",), REAL),
        ((f"proto=https; for = {REAL}",), REAL),
        ((f"for={FORGED}, for={REAL}",), REAL),
        ((f"for={FORGED}", f"for={REAL}"), REAL),
        ((f"for={REAL}, for=10.2.2.2;proto=http",), REAL),
        ((f'for="{REAL}:4711"',), REAL),
        (('for="[2001:db8::17]:4711"',), "2001:db8::17"),
        (('for="[2001:db8::17]"',), "2001:db8::17"),
        ((f"for={FORGED}, for=unknown",), UNKNOWN),
        ((f'for={FORGED}, for="_gazonk"',), UNKNOWN),
        ((f"for={FORGED}, proto=https",), UNKNOWN),
        ((f"for={FORGED}, xfor={REAL}",), UNKNOWN),
        # RFC 7239 6: a port may be obfuscated
        (('for="[2001:db8::17]:_gazonk"',), "2001:db8::17"),
        ((f'for="{REAL}:_a.b-c"',), REAL),
        # client-controlled text in a value that the proxy quotes
        ((f'for={REAL};host="a,for={FORGED}"',), REAL),
        ((f'for={REAL};host="a\\",for={FORGED}"',), REAL),
        ((f'host="a;for={FORGED}";for={REAL}',), REAL),
        ((f'for="{FORGED}, for={REAL}',), REAL),
        ((f'for="{FORGED}', f'for={REAL};host="a"'), REAL),
        ((f'for={FORGED};x="\\', f"for={REAL}"), REAL),
        ((f" For = {REAL} ; proto=http ,",), REAL),
    ],
)
def test_forwarded(lines: tuple[str, ...], expected: str) -> None:
    assert client("10.0.0.1", *lines, name="Forwarded") == expected


def test_headers_of_untrusted_peers_are_ignored() -> None:
    assert client(REAL, FORGED) == REAL
    assert client(REAL, f"for={FORGED}", name="Forwarded") == REAL
    assert client("", FORGED) == ""
    assert client("not an address", FORGED) == "not an address"


def test_any_peer() -> None:
    assert client(FORGED, "2.2.2.2", REAL, any_peer=True) == REAL
    assert client(FORGED, f"2.2.2.2, {REAL}, 10.1.1.1", any_peer=True) == REAL
    assert client(FORGED, any_peer=True) == FORGED


def test_only_one_header_is_read() -> None:
    lines = [("Forwarded", f"for={FORGED}"), ("X-Forwarded-For", REAL)]
    assert ClientAddresses(PROXIES).client("10.0.0.1", lines) == REAL
    assert ClientAddresses(PROXIES, header="X-Forwarded-For").client("10.0.0.1", lines) == REAL
    lines = [("Forwarded", f"for={REAL}"), ("X-Forwarded-For", FORGED)]
    assert ClientAddresses(PROXIES, header="Forwarded").client("10.0.0.1", lines) == REAL
    assert ClientAddresses(PROXIES, header="X-Forwarded-For").client("10.0.0.1", lines[:1]) == "10.0.0.1"


def test_long_lists_are_cheap() -> None:
    lines = ["10.0.0.1," * 900] * 100
    for attempt in attempts():
        began = time.thread_time()
        for _ in range(10):
            assert client("10.0.0.1", *lines) == "10.0.0.1"
        attempt.spent((time.thread_time() - began) / 10, 0.002)
    assert client("10.0.0.1", *[REAL] * 1, *["10.0.0.2"] * MAX_HOPS) == "10.0.0.2"
