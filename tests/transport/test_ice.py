from sfu.transport.ice import IceAgent
from sfu.transport.stun import parse_binding_request
from tests.support.peer import binding_request


def check(agent: IceAgent, ufrag: str, pwd: str, now: float = 1.0) -> bytes | None:
    data = binding_request(f"{ufrag}:other", pwd)
    return agent.check(parse_binding_request(data), data, now)


def test_only_our_password_proves_anything() -> None:
    agent = IceAgent()
    assert check(agent, agent.ufrag, "wrong") is None
    assert check(agent, "nobody", agent.pwd) is None
    assert agent.last_check < 0
    assert check(agent, agent.ufrag, agent.pwd) == agent.pwd.encode()
    assert agent.last_check == 1.0


def test_credentials_are_long_and_of_the_ice_alphabet() -> None:
    agents = [IceAgent() for _ in range(200)]
    assert len({agent.ufrag for agent in agents}) == 200
    for agent in agents:
        assert (len(agent.ufrag), len(agent.pwd)) == (8, 24)
        assert all(letter.isalnum() or letter in "+/" for letter in agent.ufrag + agent.pwd)


def test_after_a_restart_the_old_credentials_hold_until_the_new_ones_are_used() -> None:
    agent = IceAgent()
    old = agent.ufrag, agent.pwd
    assert agent.restart() is None
    assert check(agent, *old) == old[1].encode()
    data = binding_request(f"{agent.ufrag}:other", agent.pwd)
    request = parse_binding_request(data)
    assert agent.check(request, data, 2.0)
    assert agent.settle(request) == old[0]
    assert check(agent, *old) is None
    assert agent.ufrags == [agent.ufrag]


def test_a_second_restart_drops_the_first_credentials() -> None:
    agent = IceAgent()
    first = agent.ufrag
    agent.restart()
    assert agent.restart() == first
    assert len(agent.ufrags) == 2
