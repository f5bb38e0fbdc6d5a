"""Counters of HTTP requests and connections."""

from sfu.api.connection_limiter import ConnectionLimiter
from sfu.api.metrics import HttpCollector
from sfu.api.middleware import RequestCounters
from sfu.api.settings import Settings
from tests.support.metrics import samples


def test_values() -> None:
    requests, connections = RequestCounters(), ConnectionLimiter(Settings(connections_per_address=2))
    requests.by_route["GET", '/r/{room}"\n', "200"] = 36
    requests.refused_tokens["token_expired"] = 33
    refused = [connections.enter("192.0.2.1") for _ in range(3)]
    assert refused == ["", "", "address"]
    shown = samples(HttpCollector(requests, connections))
    expected = {
        ("sfu_http_requests_total", ("GET", '/r/{room}"\n', "200")): 36,
        ("sfu_tokens_refused_total", ("token_expired",)): 33,
        ("sfu_http_connections", ()): 2,
        ("sfu_http_connections_refused_total", ("total",)): 0,
        ("sfu_http_connections_refused_total", ("address",)): 1,
        ("sfu_http_connections_refused_total", ("late_head",)): 0,
    }
    assert {key: value for key, value in shown.items() if key[0].startswith("sfu_")} == expected
