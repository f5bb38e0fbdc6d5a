"""The subscribers' downlinks by the clock: rates measured, allocations renewed, probes filled up.

One per edge. A subscriber takes part from its first route on; one that only listens to sound has nothing to allocate and
costs a few comparisons a second.
"""

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sfu.bandwidth.settings import Settings
from sfu.forwarding.control import TICK
from sfu.forwarding.downlink import Downlink, Layers
from sfu.forwarding.rates import Rates
from sfu.forwarding.track import Track

if TYPE_CHECKING:
    from sfu.transport.layer_control import Steering
    from sfu.transport.webrtc_server import Hub

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.05
CALM_EVERY: Final = 0.2
"""Of those who have all that they want,"""
IDLE_EVERY: Final = 0.5
"""and of those whom nothing was sent since the last look."""
EARLY: Final = TICK / 2
"""Ticks are not exact."""


class Downlinks:
    """Knows who has one, and looks at them."""

    def __init__(self, hub: "Hub", settings: Settings) -> None:
        self.settings = settings
        self.rates = Rates()
        self._hub = hub
        self._looking: dict[Steering, float] = {}
        """Who takes part, and when it was last looked at."""
        self._at_once: set[Steering] = set()

    def open(self, steering: "Steering", layers: Layers, now: float) -> Downlink | None:
        """None when the operator wants none."""
        if not self.settings.enabled:
            return None
        self._looking[steering] = float("-inf")
        return Downlink(self.settings, layers, now)

    def touch(self, steering: "Steering") -> None:
        """Its wishes or encodings changed: it is looked at in the next tick."""
        self._at_once.add(steering)

    def close(self, steering: "Steering") -> None:
        self._looking.pop(steering, None)
        self._at_once.discard(steering)

    def tick(self, now: float) -> None:
        if not self._looking:
            return
        self.rates.measure(self._tracks(), now)
        at_once, self._at_once = self._at_once, set()
        for steering, looked in list(self._looking.items()):
            downlink = steering.downlink
            look = steering in at_once
            if not look and now - looked >= LOOK_EVERY - EARLY:
                look = downlink is None or now - looked >= _every(downlink) - EARLY
            if look:
                self._looking[steering] = now
            elif downlink is None or not downlink.probing:
                continue
            began = time.monotonic()
            try:
                steering.look(now, allocate=look)
            except Exception:  # one subscriber's fault is not the others'
                log.exception("allocation failed")
            steering.charge(time.monotonic() - began, now)

    def _tracks(self) -> Iterator[Track]:
        return (track for peer in self._hub.engine.peers.values() for track in peer.tracks.values())


def _every(downlink: Downlink) -> float:
    """Seconds between two looks."""
    return IDLE_EVERY if downlink.estimator.idle else CALM_EVERY if downlink.calm else LOOK_EVERY
