"""The subscribers' downlinks by the clock: rates measured, allocations renewed, probes filled up.

One per edge. A subscriber takes part from its first route on; one that only listens to sound has nothing to allocate and
costs a few comparisons a second.
"""

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sfu.bandwidth.settings import Settings
from sfu.forwarding.downlink import Downlink, LayerSource
from sfu.forwarding.layer_bitrates import LayerBitrates
from sfu.forwarding.rtcp_handler import TICK
from sfu.forwarding.track import Track

if TYPE_CHECKING:
    from sfu.transport.layer_control import LayerControl
    from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.05
CALM_EVERY: Final = 0.2
"""Of those who have all that they want,"""
IDLE_EVERY: Final = 0.5
"""and of those whom nothing was sent since the last look."""
EARLY: Final = TICK / 2
"""Ticks are not exact."""


class DownlinkScheduler:
    """Knows who has one, and looks at them."""

    def __init__(self, webrtc_server: "WebRtcServer", settings: Settings) -> None:
        self.settings = settings
        self.rates = LayerBitrates()
        self._webrtc_server = webrtc_server
        self._looking: dict[LayerControl, float] = {}
        """Who takes part, and when it was last looked at."""
        self._at_once: set[LayerControl] = set()

    def open(self, layer_control: "LayerControl", layers: LayerSource, now: float) -> Downlink | None:
        """None when the operator wants none."""
        if not self.settings.enabled:
            return None
        self._looking[layer_control] = float("-inf")
        return Downlink(self.settings, layers, now)

    def touch(self, layer_control: "LayerControl") -> None:
        """Its wishes or encodings changed: it is looked at in the next tick."""
        self._at_once.add(layer_control)

    def close(self, layer_control: "LayerControl") -> None:
        self._looking.pop(layer_control, None)
        self._at_once.discard(layer_control)

    def tick(self, now: float) -> None:
        if not self._looking:
            return
        self.rates.measure(self._tracks(), now)
        at_once, self._at_once = self._at_once, set()
        for layer_control, looked in list(self._looking.items()):
            downlink = layer_control.downlink
            update = layer_control in at_once
            if not update and now - looked >= LOOK_EVERY - EARLY:
                update = downlink is None or now - looked >= _every(downlink) - EARLY
            if update:
                self._looking[layer_control] = now
            elif downlink is None or not downlink.probing:
                continue
            began = time.monotonic()
            try:
                layer_control.update(now, allocate=update)
            except Exception:  # one subscriber's fault is not the others'
                log.exception("allocation failed")
            layer_control.charge(time.monotonic() - began, now)

    def _tracks(self) -> Iterator[Track]:
        return (track for peer in self._webrtc_server.engine.peers.values() for track in peer.tracks.values())


def _every(downlink: Downlink) -> float:
    """Seconds between two looks."""
    return IDLE_EVERY if downlink.estimator.idle else CALM_EVERY if downlink.is_satisfied else LOOK_EVERY
