"""Settings of the event stream and its sinks."""

from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from sfu.errors import ConfigurationError
from sfu.events.event import EVENT_NAMES

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
MAX_ENDPOINTS = 32


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver of webhooks."""

    url: str
    "`https://` or `http://` URL that receives the events. A query may contain a secret; it is not shown."
    key: str = ""
    "Name of the key in `auth.keys` that signs; empty: the first one."
    events: tuple[str, ...] = ()
    "Names of the events to send; empty: all."


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    endpoints: tuple[Endpoint, ...] = field(default=(), repr=False, metadata={"file": True, "redact": True})
    """Receivers: a list of `{url, key, events}`. `key` names the key in `auth.keys` that signs, by default the first one;
    `events` lists the events to send, by default all. Use a file if a URL contains a secret."""
    private: bool = False
    "Allow private, loopback and link-local addresses. Set it only if the receivers are in your own network."
    timeout: Seconds = 10.0
    "Seconds for one delivery, from connecting to the response."
    retry: Seconds = 86_400.0
    "Seconds during which an event is retried before it is dropped."
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 32
    "Maximum concurrent requests per receiver; the events of one room are sent one after the other."
    max_queued: Count = 100_000
    "Maximum queued events per receiver; beyond it, the oldest are dropped."
    max_queued_bytes: Count = 268_435_456
    "Maximum bytes of queued events per receiver; beyond it, the oldest are dropped."

    def __post_init__(self) -> None:
        if len(self.endpoints) > MAX_ENDPOINTS:
            raise ConfigurationError(f"events.webhooks.endpoints has more than {MAX_ENDPOINTS} entries.")
        for number, endpoint in enumerate(self.endpoints, 1):
            try:
                parts = urlsplit(endpoint.url)
                valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
            except ValueError:
                valid = False
            if not valid or parts.username is not None or parts.fragment or not endpoint.url.isascii():
                raise ConfigurationError(
                    f"events.webhooks.endpoints: entry {number} is not an http:// or https:// URL without user and fragment."
                )
            for name in endpoint.events:
                if name not in EVENT_NAMES:
                    raise ConfigurationError(
                        f"events.webhooks.endpoints: entry {number} names the unknown event {name!r}; see sfu/events/EVENTS.md."
                    )
        if len({endpoint.url for endpoint in self.endpoints}) < len(self.endpoints):
            raise ConfigurationError("events.webhooks.endpoints has the same URL twice.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    brokers: tuple[str, ...] = ()
    "Bootstrap brokers as `host:port` (requires the extra `kafka`); empty: no Kafka."
    topic: str = "sfu.events"
    "Topic of the events; the key of a record is the room's name."
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    "Security protocol of the brokers."
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    "SASL mechanism."
    username: str = ""
    "SASL user."
    password: str = field(default="", repr=False, metadata={"secret": True})
    "SASL password."
    ca: str = ""
    "Path of the CA certificates (PEM) of the brokers; empty: those of the system."
    max_queued: Count = 20_000
    "Maximum events that wait for the brokers, in memory; beyond it, the oldest are dropped."
    max_queued_bytes: Count = 67_108_864
    "Maximum bytes of events that wait for the brokers."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    webhooks: Webhooks = field(default_factory=Webhooks)
    "Signed HTTP requests, as LiveKit sends them."
    kafka: Kafka = field(default_factory=Kafka)
    "Events to a Kafka topic."
    directory: str = "events"
    "Directory of the webhook outbox; created if webhooks are configured."
    recent: Count = 2_000
    "Events kept in memory for readers of `GET /api/v1/events` that resume."
    recent_bytes: Count = 16_777_216
    "Bytes of these events."
    max_readers: Annotated[int, Meta(ge=0)] = 64
    "Maximum concurrent readers of `GET /api/v1/events`; further ones get 503."
    attendance: Annotated[float, Meta(ge=0)] = 86_400.0
    "Seconds that attendance is kept after a room has ended."
    attendance_stays: Count = 5_000
    "Stays of participants in attendance per room; beyond it, the oldest is dropped."
