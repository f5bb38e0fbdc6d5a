from sfu.bots.ice import CONSENT_INTERVAL, IceClient, binding_request, response_transaction
from sfu.transport import stun

FIRST, SECOND = ("192.0.2.1", 7882), ("127.0.0.1", 7882)
PWD = "the-server's-password-xx"


def client() -> IceClient:
    ice = IceClient()
    ice.use("server", PWD, [FIRST, SECOND], 0.0)
    return ice


def reply(request: bytes, password: str = PWD) -> bytes:
    parsed = stun.parse_binding_request(request)
    return stun.binding_response(parsed.transaction_id, ("127.0.0.1", 4000), password.encode())


def test_the_server_accepts_a_check() -> None:
    request = binding_request("server:bot", PWD, bytes(range(12)), 77, nominate=True)
    parsed = stun.parse_binding_request(request)
    assert stun.verify(parsed, request, PWD.encode())
    assert (parsed.username, parsed.use_candidate, parsed.controlling, parsed.tie_breaker) == (
        "server:bot",
        True,
        True,
        77,
    )
    assert not stun.parse_binding_request(binding_request("a:b", PWD, bytes(12), 1, nominate=False)).use_candidate


def test_the_first_responding_candidate_is_selected_and_nominated() -> None:
    ice = client()
    checks = ice.checks(0.0)
    assert [address for _, address in checks] == [FIRST, SECOND]
    assert not any(stun.parse_binding_request(data).use_candidate for data, _ in checks)
    assert ice.receive(reply(checks[1][0]), 0.05)
    assert (ice.selected, ice.rtt) == (SECOND, 0.05)
    [(data, address)] = ice.checks(0.05)
    assert address == SECOND
    assert stun.parse_binding_request(data).use_candidate
    assert not ice.receive(reply(checks[0][0]), 0.06)
    assert ice.selected == SECOND


def test_checks_are_repeated_until_answered_and_rarely_afterwards() -> None:
    ice = client()
    assert len(ice.checks(0.0)) == 2
    assert not ice.checks(0.01)
    assert len(ice.checks(0.2)) == 2
    ice.receive(reply(ice.checks(1.0)[0][0]), 1.0)
    ice.checks(1.0)
    assert not ice.checks(1.0 + CONSENT_INTERVAL / 2)
    assert len(ice.checks(1.0 + CONSENT_INTERVAL * 1.3)) == 1
    assert ice.silent_for(9.0) == 8.0


def test_unauthenticated_responses_are_ignored() -> None:
    ice = client()
    request, _ = ice.checks(0.0)[0]
    good = reply(request)
    for data in (b"", request, good[:-30], reply(request, "wrong"), good[:8] + bytes(12) + good[20:]):
        assert not ice.receive(data, 0.0)
    assert response_transaction(good, PWD) == request[8:20]
    assert ice.receive(good, 0.0)
    assert not ice.receive(good, 0.0)


def test_a_restart_keeps_the_path() -> None:
    ice = client()
    ice.receive(reply(ice.checks(0.0)[0][0]), 0.0)
    ice.use("again", "new-password", [SECOND], 5.0)
    [(data, address)] = ice.checks(5.0)
    assert address == FIRST
    assert stun.parse_binding_request(data).username.startswith("again:")
