"""The validated addresses of one connection, and the one that media is sent to.

A connectivity check authenticates its sender, not its source address: a participant who can forge source addresses could
direct media to a third party with one check. An ICE-lite agent sends no checks of its own (RFC 8445 2.5) that would prove a
return path. Therefore a nominated address is selected when it keeps checking while the selected one does not renominate itself,
or when the selected address falls silent (a changed NAT binding, another network). An address that was selected because
of such silence has to keep checking too; otherwise media returns to the previous address. Pure; `now` in monotonic seconds.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from sfu.forwarding.peer_transport import Address

ADDRESSES: Final = 8
"""Validated addresses kept per connection; the oldest goes first."""
TRANSACTIONS: Final = 16
"""Newest transaction ids kept per address: a replayed check proves nothing."""
CONTINUED: Final = 0.4
"""Seconds of checks that prove an address. Chromium checks a nominated pair three times in 150 ms, then twice a
second,"""
INTERVAL: Final = 3.0
"""and every 2.5 s later on; after a longer pause the proof begins again."""
SILENCE: Final = 1.0
"""Seconds without checks, RTCP and DTLS after which a nominated address replaces the selected one."""
IN_FLIGHT: Final = 0.25
"""Seconds after a move in which packets from the old address may still arrive."""
UNHEARD: Final = 4.0
"""Seconds after a move because of silence within which the new address has to send a packet,"""
PROBATION: Final = 7.0
"""and within which it has to check again. Firefox checks every 4 to 6 s (RFC 7675 5.1)."""
QUIET: Final = 0.6
"""Seconds without a check from an unproved address after which media returns to an active one."""

DatagramSink = TypeVar("DatagramSink")


class CandidatePair(Generic[DatagramSink]):
    """One validated address."""

    __slots__ = ("checked", "datagram_sink", "heard", "nominated", "since", "transactions")

    def __init__(self, datagram_sink: DatagramSink, now: float) -> None:
        self.datagram_sink = datagram_sink
        """The socket that receives its checks."""
        self.checked = self.heard = self.since = now
        """Last check; last authentic packet other than RTP; first check of the current uninterrupted run."""
        self.nominated = float("-inf")
        """Last check with USE-CANDIDATE."""
        self.transactions: deque[bytes] = deque(maxlen=TRANSACTIONS)

    @property
    def is_proven(self) -> bool:
        return self.checked - self.since >= CONTINUED


class CandidatePairs(Generic[DatagramSink]):
    """`check` with each valid check; `update` a few times a second while `is_selecting`."""

    __slots__ = ("_before", "_known", "_moved_at", "_proved", "_wanted", "_wanted_at", "selected")

    def __init__(self) -> None:
        self._known: dict[Address, CandidatePair[DatagramSink]] = {}
        self.selected: Address | None = None
        self._wanted: Address | None = None
        """Nominated, and not selected yet."""
        self._wanted_at = float("-inf")
        self._before: Address | None = None
        """The previous address, while the last move can still be undone."""
        self._moved_at = float("-inf")
        self._proved = False
        """Whether the address was proved when it was selected."""

    def __contains__(self, address: Address) -> bool:
        return address in self._known

    def __iter__(self) -> Iterator[Address]:
        return iter(self._known)

    @property
    def is_selecting(self) -> bool:
        return self._wanted is not None or self._before is not None

    @property
    def datagram_sink(self) -> DatagramSink:
        """The socket that sends to the selected address."""
        assert self.selected is not None
        return self._known[self.selected].datagram_sink

    def checked(self, address: Address) -> float:
        """Time of the last valid check from this address; minus infinity: none."""
        path = self._known.get(address)
        return path.checked if path is not None else float("-inf")

    def evictable(self) -> Address | None:
        """The address to forget before another is added."""
        if len(self._known) < ADDRESSES:
            return None
        kept = (self.selected, self._wanted, self._before)
        return next(address for address in self._known if address not in kept)

    def forget(self, address: Address) -> None:
        self._known.pop(address, None)
        if address == self._wanted:
            self._wanted = None
        if address == self._before:
            self._before = None

    def packet_received(self, address: Address, now: float) -> None:
        """An authentic packet came from this address."""
        path = self._known.get(address)
        if path is not None:
            path.heard = now

    def check(
        self, address: Address, datagram_sink: DatagramSink, now: float, *, nominated: bool, transaction: bytes = b""
    ) -> bool:
        """A valid check came. Whether the selected address changed."""
        path = self._known.get(address)
        settled = address == self.selected and self._before is None
        if path is not None and transaction in path.transactions and not settled:
            return self.update(now)
        if path is None:
            path = self._known[address] = CandidatePair(datagram_sink, now)
        elif now - path.checked > INTERVAL:
            path.since = now
        path.checked = path.heard = now
        path.datagram_sink = datagram_sink
        if transaction:
            path.transactions.append(transaction)
        before = self._known.get(self.selected) if self.selected is not None else None
        first = nominated and before is not None and before.nominated == float("-inf")
        if nominated:
            path.nominated = now
        if before is None:
            moved, self.selected = address != self.selected, address
            return moved
        if first and address != self.selected:  # checks of several pairs came before one of them was nominated
            self._move(address, now)
            return True
        if nominated and address not in (self.selected, self._wanted):
            self._wanted, self._wanted_at = address, now
        return self.update(now)

    def update(self, now: float) -> bool:
        """Whether the selected address changed."""
        if self.selected is None or not self.is_selecting:
            return False
        if self._before is not None and self._returns(self._before, now):
            return True
        wanted, selected = self._wanted, self._known.get(self.selected)
        if wanted is None:
            return False
        path = self._known[wanted]
        silent = path.checked >= self._wanted_at and (selected is None or now - selected.heard >= SILENCE)
        nominated = selected.nominated if selected is not None else float("-inf")
        contested = nominated >= self._wanted_at and now - nominated < INTERVAL
        if silent or (path.is_proven and path.nominated > nominated and not contested):
            self._move(wanted, now)
            return True
        if now - max(path.nominated, self._wanted_at) > PROBATION:
            self._wanted = None
        return False

    def _move(self, address: Address, now: float) -> None:
        self._before = self.selected if self.selected in self._known else None
        self._proved = self._known[address].is_proven
        self.selected, self._wanted, self._moved_at = address, None, now

    def _returns(self, before: Address, now: float) -> bool:
        """Whether media returns to the address that was selected before."""
        assert self.selected is not None
        path, old = self._known.get(self.selected), self._known[before]
        if path is None:
            self._before = None
            return False
        since = now - self._moved_at
        if path.checked - self._moved_at >= (PROBATION if self._proved else CONTINUED):
            self._before = None
            return False
        quiet = now - path.checked >= (INTERVAL if self._proved else QUIET)
        alive = quiet and old.heard - self._moved_at >= IN_FLIGHT
        unheard = since >= UNHEARD and path.heard <= self._moved_at
        unproved = since >= PROBATION and not self._proved
        if not (alive or unheard or unproved):
            return False
        # An unproved address may still prove itself: its next check moves media again unless the old address is active.
        self._wanted, self._wanted_at = (None, now) if alive else (self.selected, now)
        path.since = now
        self.selected, self._before = before, None
        return True

    def stale(self, now: float) -> bool:
        """Whether the selected address fell silent and another checking address replaced it."""
        address = self.latest()
        if address is None or address == self.selected or now - self._known[address].heard > INTERVAL:
            return False
        selected = self._known.get(self.selected) if self.selected is not None else None
        if selected is not None and now - selected.heard < PROBATION:
            return False
        self.select(address)
        return True

    def latest(self) -> Address | None:
        """The address that checked last."""
        return max(self._known, key=self.checked, default=None)

    def select(self, address: Address) -> None:
        """Selects an address unconditionally: the selected one withdrew its consent."""
        self.selected, self._wanted, self._before = address, None, None
