"""Schedules the downlinks of all subscribers: measures layer bitrates, renews allocations, sends probes.

One per server. A subscriber takes part from its first video down track on. One that receives only audio has nothing to
allocate and costs a few comparisons per second.
"""

import logging
import time
from collections.abc import Collection, Hashable
from typing import TYPE_CHECKING, Final, Protocol

from sfu.bandwidth.settings import Settings
from sfu.forwarding.downlink import Downlink, LayerSource
from sfu.forwarding.layer_bitrates import LayerBitrates
from sfu.forwarding.rtcp_handler import TICK

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

UPDATE_EVERY: Final = 0.05
"""Seconds between two updates of a subscriber."""
SATISFIED_EVERY: Final = 0.2
"""The same for subscribers that receive everything they requested."""
IDLE_EVERY: Final = 0.5
"""The same for subscribers that nothing was sent to since the last update."""
EARLY: Final = TICK / 2
"""Tolerance, because ticks are not exact."""


class Scheduled(Protocol):
    """The layer control of one subscriber (layer_control.py)."""

    @property
    def downlink(self) -> Downlink | None: ...

    @property
    def changed(self) -> Collection[Hashable]:
        """The requests that changed: if any, the subscriber is updated in the next tick."""

    def update(self, now: float, *, allocate: bool) -> None: ...

    def charge(self, seconds: float, now: float) -> None:
        """Charges the loop time of `update` to the subscriber."""


class DownlinkScheduler:
    """Updates the layer control of every subscriber that has video."""

    def __init__(self, webrtc_server: "WebRtcServer", settings: Settings) -> None:
        self.settings = settings
        self.rates = LayerBitrates()
        self._webrtc_server = webrtc_server
        self._updated: dict[Scheduled, float] = {}
        """Time of the last update of each subscriber."""

    def open(self, layer_control: Scheduled, layers: LayerSource, now: float) -> Downlink | None:
        """None if the operator disabled bandwidth estimation."""
        if not self.settings.enabled:
            return None
        self._updated[layer_control] = float("-inf")
        return Downlink(self.settings, layers, now)

    def close(self, layer_control: Scheduled) -> None:
        self._updated.pop(layer_control, None)

    def tick(self, now: float) -> None:
        if not self._updated:
            return
        self.rates.measure(self._webrtc_server.engine.tracks(), now)
        for layer_control, updated in list(self._updated.items()):
            downlink = layer_control.downlink
            update = bool(layer_control.changed)
            if not update and now - updated >= UPDATE_EVERY - EARLY:
                update = downlink is None or now - updated >= _every(downlink) - EARLY
            if update:
                self._updated[layer_control] = now
            elif downlink is None or not downlink.probing:
                continue
            began = time.monotonic()
            try:
                layer_control.update(now, allocate=update)
            except Exception:  # one subscriber's fault must not affect others
                log.exception("allocation failed")
            layer_control.charge(time.monotonic() - began, now)


def _every(downlink: Downlink) -> float:
    """Seconds between two updates."""
    return IDLE_EVERY if downlink.estimator.idle else SATISFIED_EVERY if downlink.is_satisfied else UPDATE_EVERY
