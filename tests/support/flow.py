"""Flows over the virtual network: media that obeys the real estimator, and TCP as it competes with it."""

from collections.abc import Callable, Sequence

from sfu.bandwidth.estimator import Estimator
from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import Recorder, parse_feedback
from tests.support.network import FOREVER, Link, Network, quantile

PACKET = 1200
OVERHEAD = 28
"""IPv4 and UDP."""
FRAME = 1 / 30
PACE = 0.005
STARTS = 2.0
"""Seconds in which a flow may probe: later it is never short of something to send."""


def across(links: Sequence[Link], size: int, arrive: Callable[..., None], *arguments: object) -> None:
    """Sends through links in a row, then calls `arrive(*arguments)`."""

    def forward(index: int) -> None:
        if index == len(links):
            arrive(*arguments)
        else:
            links[index].send(index + 1, size, forward)

    forward(0)


class MediaFlow:
    """A picture source that follows the target with 30 frames a second, each larger or smaller by chance.

    Packets of a frame are paced at 2.5 times the target in steps of 5 ms (libwebrtc). The receiver records what arrives
    and tells it every 50 ms, in the bytes that browsers send.
    """

    def __init__(
        self,
        network: Network,
        forward: Sequence[Link],
        backward: Sequence[Link],
        *,
        begin: float = 0.0,
        end: float = FOREVER,
        pauses: Sequence[tuple[float, float]] = (),
        most: float = 10e6,
        spread: float = 0.15,
        settings: Settings | None = None,
    ) -> None:
        self.network, self.forward, self.backward = network, forward, backward
        self.begin, self.end, self.pauses, self.most, self.spread = begin, end, pauses, most, spread
        self.settings = settings or Settings(start=300_000.0)
        self.estimator = Estimator(self.settings)
        self.recorder = Recorder(1)
        self.number = 0
        self._waiting: list[int] = []
        self._pacing = 0.0
        self._random = network.random
        self.sent = self.got = 0
        self.arrived: list[tuple[float, int, float]] = []
        """(when, bytes, seconds on the way)."""
        self.targets: list[tuple[float, float]] = []
        network.every(FRAME, self._frame, first=begin, until=end)
        network.every(PACE, self._pace, first=begin, until=end)
        network.every(0.05, self._send_feedback, first=begin + 0.05, until=end + 1)
        network.every(0.05, self._tick, first=begin, until=end)

    def _paused(self) -> bool:
        return any(since <= self.network.now < until for since, until in self.pauses)

    def _frame(self) -> None:
        if self._paused():
            return
        rate = min(self.estimator.target, self.most)
        size = int(rate / 8 * FRAME * max(0.3, self._random.gauss(1, self.spread)))
        backlog = sum(self._waiting)
        if backlog > rate / 8 * 0.3:
            return  # an encoder drops frames when its pacer is full
        while size > 0:
            self._waiting.append(max(100, min(PACKET, size)))
            size -= PACKET

    def _pace(self) -> None:
        estimator, now = self.estimator, self.network.now
        budget = min(self.most, estimator.target) * 2.5 / 8 * PACE
        self._pacing = min(self._pacing + budget, budget)
        batch = []
        while self._waiting and self._pacing > 0:
            size = self._waiting.pop(0)
            self._pacing -= size
            batch.append(size)
        padding = estimator.padding(now, PACE)
        if not batch or padding > PACKET:
            batch += [PACKET] * (padding // PACKET)
        if batch:
            estimator.sent(self.number, batch, now)
            for size in batch:
                across(self.forward, size + OVERHEAD, self._arrive, self.number, size, now)
                self.number = (self.number + 1) & 0xFFFF
            self.sent += len(batch)

    def _arrive(self, number: int, size: int, sent: float) -> None:
        now = self.network.now
        self.got += 1
        self.recorder.record(number, now + 1000.0)
        self.arrived.append((now, size + OVERHEAD, now - sent))

    def _send_feedback(self) -> None:
        for packet in self.recorder.feedback(2):
            across(self.backward, len(packet) + OVERHEAD, self._receive_feedback, packet)

    def _receive_feedback(self, packet: bytes) -> None:
        self.estimator.receive_feedback(parse_feedback(packet[12:]), self.network.now)

    def _tick(self) -> None:
        now = self.network.now
        desired_rate = self.most if now < self.begin + STARTS and not self._paused() else 0.0
        self.estimator.handle_timer(now, desired_rate=desired_rate, ceiling=0.0 if self._paused() else self.most)
        self.targets.append((now, self.estimator.target))

    def rate(self, begin: float, end: float) -> float:
        """Bits per second that arrived between two moments."""
        return sum(size for when, size, _ in self.arrived if begin <= when < end) * 8 / (end - begin)

    def delay(self, begin: float, end: float, share: float = 0.95) -> float:
        """Quantile of the seconds in queues, the shortest way taken off."""
        ways = [way for when, _, way in self.arrived if begin <= when < end]
        return quantile(ways, share) - min(way for _, _, way in self.arrived)

    def loss(self) -> float:
        return 1 - self.got / self.sent


class Tcp:
    """NewReno as far as it competes: slow start, one packet more per round trip, half after loss."""

    SEGMENT = 1460

    def __init__(
        self,
        network: Network,
        forward: Sequence[Link],
        backward: Sequence[Link],
        *,
        begin: float = 0.0,
        end: float = FOREVER,
        size: int | None = None,
        done: Callable[[], None] | None = None,
    ) -> None:
        self.network, self.forward, self.backward, self.end, self.done = network, forward, backward, end, done
        self.left = size
        self._window, self._threshold = 10.0, FOREVER
        self._next = self._acked = self._recover = 0
        self._flying: dict[int, float] = {}
        self._rtt = 0.2
        self.arrived: list[tuple[float, int]] = []
        network.at(begin, self._send)
        network.at(begin, self._watch)

    def _send(self) -> None:
        now = self.network.now
        while len(self._flying) < int(self._window) and now < self.end and (self.left is None or self.left > 0):
            if self.left is not None:
                self.left -= self.SEGMENT
            number, self._next = self._next, self._next + 1
            self._flying[number] = now
            across(self.forward, self.SEGMENT + 40, self._arrive, number)
        if self.left is not None and self.left <= 0 and not self._flying and self.done is not None:
            done, self.done = self.done, None
            done()

    def _arrive(self, number: int) -> None:
        self.arrived.append((self.network.now, self.SEGMENT + 40))
        across(self.backward, 40, self._ack, number)

    def _ack(self, number: int) -> None:
        sent = self._flying.pop(number, None)
        if sent is None:
            return
        self._rtt += (self.network.now - sent - self._rtt) / 8
        lost = [other for other in self._flying if other < number - 3]
        if lost:
            self._lose(lost)
        elif self._window < self._threshold:
            self._window += 1
        else:
            self._window += 1 / self._window
        self._send()

    def _lose(self, lost: list[int]) -> None:
        for number in lost:
            del self._flying[number]
            if self.left is not None:
                self.left += self.SEGMENT
        if lost[-1] >= self._recover:  # once per window
            self._recover = self._next
            self._threshold = self._window = max(2.0, self._window / 2)

    def _watch(self) -> None:
        """Retransmission timeout."""
        now = self.network.now
        late = [number for number, sent in self._flying.items() if now - sent > max(1.0, 3 * self._rtt)]
        if late:
            self._lose(late)
            self._window = 2.0
        self._send()
        if now < self.end and (self.left is None or self.left > 0 or self._flying):
            self.network.after(0.2, self._watch)

    def rate(self, begin: float, end: float) -> float:
        return sum(size for when, size in self.arrived if begin <= when < end) * 8 / (end - begin)
