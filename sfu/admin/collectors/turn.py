"""Metrics of the configured TURN servers, from the prober."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from sfu.auth.turn_health import TurnState, TurnStatus
from sfu.telemetry.metrics import Collector, counters, gauges


class TurnCollector(Collector):
    """The label `url` is one of `turn.urls`. Without TURN servers it yields nothing."""

    def __init__(self, statuses: Callable[[], Sequence[TurnStatus]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
        statuses = self._statuses()
        if not statuses:
            return
        state = GaugeMetricFamily(
            "sfu_turn_server_state",
            "1 for the current state of a TURN server: healthy, slow or failed.",
            labels=["url", "state"],
        )
        for each in statuses:
            for possible in TurnState:
                state.add_metric([each.url, possible.value], float(each.state is possible))
        yield state
        latency = {each.url: each.latency for each in statuses if each.latency is not None}
        yield gauges("sfu_turn_latency_seconds", "Latency of the last answered probe of a TURN server.", "url", latency)
        yield gauges(
            "sfu_turn_loss_ratio",
            "Ratio of lost probes of a TURN server within ten seconds.",
            "url",
            {each.url: each.loss for each in statuses},
        )
        yield counters(
            "sfu_turn_probes_total", "Probes of a TURN server.", "url", {each.url: each.probes for each in statuses}
        )
        yield counters(
            "sfu_turn_probes_lost_total",
            "Lost probes of a TURN server.",
            "url",
            {each.url: each.lost for each in statuses},
        )
