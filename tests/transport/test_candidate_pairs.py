"""Which of several validated addresses media goes to: honest moves are quick, forged ones are short."""

from collections.abc import Iterable
from typing import Any

import pytest

from sfu.forwarding.peer_transport import Address
from sfu.transport.candidate_pairs import ADDRESSES, PROBATION, CandidatePairs

HOME, AWAY, VICTIM = ("192.0.2.1", 1000), ("198.51.100.2", 2000), ("203.0.113.3", 3000)
Events = Iterable[tuple[float, str, tuple[str, int]]]


def every(seconds: float, begin: float, end: float, kind: str, address: tuple[str, int]) -> list[Any]:
    return [(begin + seconds * step, kind, address) for step in range(round((end - begin) / seconds) + 1)]


def run(*lists: Events, until: float) -> list[tuple[float, Address]]:
    """Plays events (nominating check, check, RTCP) and looks ten times a second. (when, what) was selected."""
    paths: CandidatePairs[str] = CandidatePairs()
    events = sorted([event for one in lists for event in one] + every(0.1, 0, until, "look", HOME), key=lambda e: e[0])
    found: list[tuple[float, Address]] = []
    looked = 0.0
    for now, kind, address in events:
        if kind == "look":
            paths.update(now)
            if now - looked >= 1:
                looked = now
                paths.stale(now)
        elif kind == "rtcp":
            paths.packet_received(address, now)
        else:
            paths.check(address, "socket", now, nominated=kind == "nominates")
        if paths.selected is not None and (not found or found[-1][1] != paths.selected):
            found.append((now, paths.selected))
    return found


def seconds_at(found: list[tuple[float, Address]], address: tuple[str, int], until: float) -> float:
    ends = [when for when, _ in found[1:]] + [until]
    return sum(end - begin for (begin, where), end in zip(found, ends, strict=True) if where == address)


def test_one_forged_check_moves_nothing_while_the_old_address_is_heard() -> None:
    for interval in (0.5, 0.9):
        found = run(every(interval, 0, 40, "nominates", HOME), [(10.2, "nominates", VICTIM)], until=40)
        assert [where for _, where in found] == [HOME]
    rtcp = every(0.1, 0, 40, "rtcp", HOME)
    found = run(every(5, 0, 40, "nominates", HOME), rtcp, [(10.2, "nominates", VICTIM)], until=40)
    assert [where for _, where in found] == [HOME]


@pytest.mark.parametrize("interval", [2.5, 5.0])
@pytest.mark.parametrize("kind", ["nominates", "checks"])
def test_a_forged_check_between_two_checks_is_short(interval: float, kind: str) -> None:
    own = [(0.0, "nominates", HOME), *every(interval, interval, 40, kind, HOME)]
    found = run(own, [(11.5, "nominates", VICTIM)], until=40)
    assert seconds_at(found, VICTIM, 40) <= min(interval, 4) + 0.2
    assert found[-1][1] == HOME


def test_a_forged_check_and_silence_is_short_too() -> None:
    found = run(every(0.5, 0, 10, "nominates", HOME), [(11.5, "nominates", VICTIM)], until=40)
    assert seconds_at(found, VICTIM, 40) <= 4.2
    assert found[-1][1] == HOME


@pytest.mark.parametrize("forged", [0.3, 0.6, 2.0, 5.0])
def test_forged_checks_that_end_give_the_media_back(forged: float) -> None:
    """The old address goes on checking, without nominating itself."""
    own = [(0.0, "nominates", HOME), *every(0.5, 0.5, 60, "checks", HOME)]
    found = run(own, every(0.1, 10, 10 + forged, "nominates", VICTIM), until=60)
    assert seconds_at(found, VICTIM, 60) <= forged + PROBATION + 1.2
    assert found[-1][1] == HOME


def test_forged_checks_without_end_move_nothing_while_the_old_address_nominates_itself() -> None:
    found = run(every(0.5, 0, 60, "nominates", HOME), every(0.3, 10.1, 60, "nominates", VICTIM), until=60)
    assert [where for _, where in found] == [HOME]


@pytest.mark.parametrize(("transactions", "moves"), [(1, False), (8, False), (400, True)])
def test_a_check_that_is_sent_again_and_again_proves_an_address_once(transactions: int, moves: bool) -> None:
    """A copy is authentic wherever it comes from. The participant nominated once and checks without nomination."""
    paths: CandidatePairs[str] = CandidatePairs()
    away = 0.0
    for step in range(400):
        now = step / 10
        if step % 5 == 0:
            paths.check(HOME, "socket", now, nominated=step == 0, transaction=b"home%d" % step)
        if step >= 100:
            paths.check(VICTIM, "socket", now, nominated=True, transaction=b"copy%d" % (step % transactions))
        paths.update(now)
        away += 0.1 * (paths.selected == VICTIM)
    assert (away > 20) == moves
    assert moves or away < 5


def test_a_participant_that_never_nominates_gains_nothing() -> None:
    found = run(every(0.5, 0, 60, "checks", HOME), [(30.1, "nominates", VICTIM)], until=60)
    assert seconds_at(found, VICTIM, 60) <= 1.5
    assert found[-1][1] == HOME


@pytest.mark.parametrize(("interval", "limit"), [(2.5, 2.6), (5.0, 5.1)])
def test_a_nat_binding_that_changes_costs_no_more_than_the_time_to_the_next_check(
    interval: float, limit: float
) -> None:
    """Chromium checks its pair every 2.5 s, Firefox every 5; RTCP of the new binding is heard only afterwards."""
    home = [*every(interval, 0, 20, "nominates", HOME), *every(0.1, 0, 20.2, "rtcp", HOME)]
    away = [*every(interval, 20 + interval, 80, "nominates", AWAY), *every(0.1, 20.3, 80, "rtcp", AWAY)]
    found = run(home, away, until=80)
    assert [where for _, where in found] == [HOME, AWAY]
    assert found[-1][0] - 20.2 <= limit


def test_chromium_on_another_network_while_the_old_one_is_there() -> None:
    """It nominates the new pair, checks it often, and checks the old one as a backup."""
    home = [*every(2.5, 0, 17.5, "nominates", HOME), *every(0.1, 0, 20, "rtcp", HOME)]
    home += every(2.5, 21, 60, "checks", HOME)
    away = [
        (19.9, "checks", AWAY),
        *every(0.05, 20, 20.15, "nominates", AWAY),
        *every(0.48, 20.5, 30, "nominates", AWAY),
    ]
    away += [*every(2.5, 31, 60, "nominates", AWAY), *every(0.1, 20.1, 60, "rtcp", AWAY)]
    found = run(home, away, until=60)
    assert [where for _, where in found] == [HOME, AWAY]
    assert found[-1][0] - 20 <= 1.0


def test_firefox_after_an_ice_restart() -> None:
    """It checks the new pair, nominates it at once, and checks it again after 5 s only; the old socket is closed."""
    home = [*every(5, 0, 20, "nominates", HOME), *every(0.1, 0, 20, "rtcp", HOME)]
    away = [(20.0, "checks", AWAY), (20.05, "nominates", AWAY), *every(5, 25, 60, "checks", AWAY)]
    away += every(0.5, 20.1, 60, "rtcp", AWAY)
    found = run(home, away, until=60)
    assert [where for _, where in found] == [HOME, AWAY]
    assert found[-1][0] - 20 <= 1.2


def test_a_nat_binding_that_changes_under_a_client_that_nominates_only_once() -> None:
    """It checks every five seconds. What is heard of the new binding between two checks counts as well."""
    home = [(0.0, "nominates", HOME), *every(5, 4, 19, "checks", HOME), *every(0.1, 0, 20.2, "rtcp", HOME)]
    away = [*every(5, 24, 80, "checks", AWAY), *every(0.1, 20.3, 80, "rtcp", AWAY)]
    found = run(home, away, until=80)
    assert [where for _, where in found] == [HOME, AWAY]
    assert found[-1][0] - 20.2 <= 8.1


def test_a_quiet_publisher_whose_network_changes() -> None:
    """Sound only: a report every five seconds."""
    home = every(2.5, 0, 20, "nominates", HOME)
    away = [*every(0.05, 22, 22.15, "nominates", AWAY), *every(2.5, 22.6, 60, "nominates", AWAY)]
    found = run(home, away, until=60)
    assert [where for _, where in found] == [HOME, AWAY]


def test_first_nomination_chooses_among_several_pairs_at_once() -> None:
    away = [(0.0, "checks", AWAY), (0.1, "nominates", AWAY), *every(0.48, 0.2, 10, "nominates", AWAY)]
    found = run([(0.05, "checks", HOME), *every(0.3, 0.2, 2, "checks", HOME)], away, until=10)
    assert [where for _, where in found] == [AWAY]
    found = run([(0.0, "checks", HOME), *every(0.3, 0.2, 2, "checks", HOME)], away, until=10)
    assert [where for _, where in found][-1] == AWAY


def test_addresses_are_bounded_and_the_selected_one_is_kept() -> None:
    paths: CandidatePairs[str] = CandidatePairs()
    paths.check(HOME, "socket", 0.0, nominated=True)
    for number in range(50):
        evictable = paths.evictable()
        if evictable is not None:
            assert evictable != HOME
            paths.forget(evictable)
        paths.check(("192.0.2.9", number), "socket", 0.1, nominated=number % 2 == 0)
        assert len(list(paths)) <= ADDRESSES
    assert paths.selected == HOME


def test_the_selected_address_may_be_taken_by_another_connection() -> None:
    paths: CandidatePairs[str] = CandidatePairs()
    paths.check(HOME, "a", 0.0, nominated=True)
    paths.check(AWAY, "b", 0.1, nominated=True)
    paths.forget(HOME)
    assert paths.update(0.2)
    assert (paths.selected, paths.datagram_sink) == (AWAY, "b")
