"""Inter-arrival deltas: by how much the gaps between packet groups grew from sender to receiver.

Input of the delay-based estimate. A group consists of packets sent within 5 ms, and of packets that a queue released in
one burst. draft-ietf-rmcat-gcc-02 5.2; burst rule and reset follow libwebrtc's InterArrivalDelta.
"""

from collections.abc import Iterable
from typing import Final

GROUP_DURATION: Final = 0.005
BURST_TICKS: Final = 20
"""A packet that arrives within 5 ms after the previous one, and with a smaller gap than it was sent, joins its burst."""
BURST_LIMIT_TICKS: Final = 400
"""Maximum length of a burst: 100 ms."""
REORDERED_LIMIT: Final = 3
JUMP_TICKS: Final = 3 * 4000
"""A gap of three seconds means a clock adjustment or a pause: the computation restarts."""


class InterArrival:
    """Keeps the current group and the previous one."""

    __slots__ = ("_before_send", "_before_tick", "_begin_send", "_begin_tick", "_last_send", "_last_tick", "_reordered")

    def __init__(self) -> None:
        self._begin_send = self._last_send = self._before_send = -1.0
        self._begin_tick = self._last_tick = self._before_tick = 0
        self._reordered = 0

    def add(self, sends: Iterable[float], ticks: Iterable[int | None]) -> list[tuple[float, float, float]]:
        """Returns the deltas of the completed groups: (sent, arrived, arrival time), in milliseconds.

        `sends` in seconds, 0 for unknown packets; `ticks` of 250 µs. Both in sequence number order.
        """
        begin_send, last_send, before_send = self._begin_send, self._last_send, self._before_send
        begin_tick, last_tick, before_tick = self._begin_tick, self._last_tick, self._before_tick
        found = []
        for send, tick in zip(sends, ticks, strict=False):
            if tick is None:
                continue
            if send == last_send:
                if tick > last_tick:
                    last_tick = tick
                continue
            if send < begin_send or not send:
                continue  # reordered before the network, or unknown
            if begin_send < 0:
                begin_send, begin_tick, last_send, last_tick = send, tick, send, tick
                continue
            gap = tick - last_tick
            if send - begin_send <= GROUP_DURATION or (
                -BURST_LIMIT_TICKS < gap <= BURST_TICKS
                and gap < (send - last_send) * 4000
                and tick - begin_tick < BURST_LIMIT_TICKS
            ):
                if send > last_send:
                    last_send = send
                if gap > 0:
                    last_tick = tick
                continue
            if before_send >= 0:
                arrived = last_tick - before_tick
                if arrived < 0:
                    self._reordered += 1
                    if self._reordered >= REORDERED_LIMIT:
                        before_send, self._reordered = -1.0, 0
                        begin_send, begin_tick, last_send, last_tick = send, tick, send, tick
                        continue
                elif arrived > JUMP_TICKS:
                    self._reordered = 0
                else:
                    self._reordered = 0
                    found.append(((last_send - before_send) * 1000, arrived / 4, last_tick / 4))
            before_send, before_tick = last_send, last_tick
            begin_send, begin_tick, last_send, last_tick = send, tick, send, tick
        self._begin_send, self._last_send, self._before_send = begin_send, last_send, before_send
        self._begin_tick, self._last_tick, self._before_tick = begin_tick, last_tick, before_tick
        return found
