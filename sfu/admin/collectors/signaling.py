"""Metrics of signalling: sessions, messages, joins, decisions, reports of browsers and event-loop budgets."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from sfu.forwarding.loop_budget import LoopBudget
from sfu.signaling.context import ClientStats
from sfu.signaling.server import Statistics
from sfu.telemetry.join_trace import JoinTraces
from sfu.telemetry.metrics import Collector, counter, counters, directions, gauge, gauges, histogram, table


class SignalingCollector(Collector):
    """`unauthenticated_budget`: the share of the event loop of clients that have not joined."""

    def __init__(
        self, statistics: Callable[[], Statistics], join_traces: JoinTraces, unauthenticated_budget: LoopBudget
    ) -> None:
        self._statistics = statistics
        self._join_traces = join_traces
        self._unauthenticated_budget = unauthenticated_budget

    def collect(self) -> Iterator[Metric]:
        statistics = self._statistics()
        yield from _sessions(statistics)
        yield from _messages(statistics)
        yield table(
            "sfu_decisions_total",
            "Decisions about participants' media and their causes.",
            ["kind", "cause"],
            {(kind.value, cause.value): count for (kind, cause), count in statistics.counters.decisions.items()},
        )
        yield from _client_stats(statistics.counters.client_stats)
        yield histogram(
            "sfu_first_picture_seconds",
            "Time from a subscribing connection's first offer to its first picture.",
            self._join_traces.first_picture.distribution(),
        )
        yield histogram(
            "sfu_negotiation_seconds",
            "Time from an offer to the client's answer.",
            self._join_traces.negotiation.distribution(),
        )
        yield from self._loop_budgets(statistics)

    def _loop_budgets(self, statistics: Statistics) -> Iterator[Metric]:
        budget = self._unauthenticated_budget
        yield counters(
            "sfu_loop_budget_seconds",
            "Event-loop time charged to participants (media, signaling) and to unauthenticated clients.",
            "source",
            {**statistics.loop_seconds, "unauthenticated": budget.used},
        )
        yield counters(
            "sfu_loop_budget_throttled_total",
            "Datagrams dropped and messages delayed because their source used up its share of the event loop.",
            "source",
            {**statistics.throttled, "unauthenticated": budget.throttled},
        )
        yield counter(
            "sfu_loop_budget_disconnects_total",
            "Participants disconnected because they kept exceeding their share of the event loop.",
            statistics.counters.overloads,
        )


def _sessions(statistics: Statistics) -> Iterator[Metric]:
    yield counter("sfu_participants_joined_total", "Joins.", statistics.counters.joins)
    yield gauge("sfu_participants_waiting", "Participants waiting in lobbies.", statistics.waiting)
    yield gauge(
        "sfu_sessions", "Signalling sessions, connected or waiting for their client to resume.", statistics.sessions
    )
    yield gauges(
        "sfu_http_sessions", "Sessions of WHIP and WHEP clients, by protocol.", "protocol", statistics.http_sessions
    )
    yield gauge("sfu_signaling_sockets", "Connected WebSockets.", statistics.sockets)
    yield counter("sfu_sessions_resumed_total", "Sessions resumed after a lost socket.", statistics.counters.resumes)
    yield counter(
        "sfu_sessions_rebuilt_total",
        "Sessions of participants that returned after this node took their room over.",
        statistics.counters.rebuilds,
    )


def _messages(statistics: Statistics) -> Iterator[Metric]:
    totals = statistics.counters
    yield directions("sfu_signaling_messages_total", "Signalling messages.", totals.received, statistics.messages_sent)
    yield counters(
        "sfu_signaling_refused_total",
        "Signalling messages rejected; reason protocol: WebSockets closed for invalid frames.",
        "reason",
        {"request": totals.refused, "unreadable": totals.invalid, "protocol": totals.violations},
    )
    yield counter(
        "sfu_signaling_rate_limited_total", "Signalling messages rejected by the rate limit.", totals.rate_limited
    )


def _client_stats(stats: ClientStats) -> Iterator[Metric]:
    yield histogram("sfu_client_rtt_seconds", "Round-trip time reported by browsers.", stats.rtt.distribution())
    yield histogram(
        "sfu_client_jitter_seconds",
        "Jitter of the worst track reported by browsers.",
        stats.jitter.distribution(),
    )
    yield histogram(
        "sfu_client_loss_ratio",
        "Fraction of packets lost of the worst track reported by browsers.",
        stats.loss.distribution(),
    )
    yield counter("sfu_client_freezes_total", "Video freezes reported by browsers.", stats.freezes)
    yield counter("sfu_client_frozen_seconds_total", "Seconds of frozen video reported by browsers.", stats.frozen)
