"""Settings of signalling: timeouts, rate limits and buffers."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
Duration = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    server: str = ""
    "Server name shown to clients; empty: none."
    heartbeat: Duration = 30.0
    "Seconds between pings; a socket without incoming data for two intervals is closed."
    resume_window: Seconds = 30.0
    "Seconds after the loss of its socket during which a session can be resumed."
    join_deadline: Duration = 10.0
    "Seconds after which a socket that has not joined is closed."
    close_deadline: Duration = 3.0
    "Seconds to wait for the client's side of the closing handshake."
    max_sockets: Count = 10_000
    "Maximum open sockets; further ones get 503."
    unjoined_per_address: Count = 32
    "Maximum sockets per address that have not joined yet, and WHIP and WHEP sessions without media; further ones get 429."
    max_http_sessions: Count = 2_000
    "Maximum open WHIP and WHEP sessions; further ones get 503."
    http_session_rate: Duration = 1.0
    "Sustained WHIP and WHEP sessions per second that one address may create; further ones get 429."
    http_session_burst: Count = 60
    "Maximum burst of them."
    max_viewers_per_identity: Count = 16
    "Maximum WHEP sessions of one identity in a room; further ones get 429. Each counts as a participant of the room."
    trust_forwarded_for: bool = False
    "Trust the forwarding header of every peer, not only of `http.trusted_proxies`. Safe only behind a firewall."
    message_rate: Duration = 20.0
    "Sustained messages per second per participant; large messages count as several."
    message_burst: Count = 100
    "Maximum burst of messages per participant."
    flood_limit: Count = 500
    "Consecutive rate-limited messages after which a participant is disconnected."
    data_channel_rate: Duration = 200.0
    "Data-channel messages per second per participant; each 2,048 bytes count as one. Messages above the rate are dropped."
    replay_events: Count = 256
    "Maximum events kept per session for a resume."
    replay_bytes: Count = 131_072
    "Maximum bytes of events kept per session for a resume."
    queue_bytes: Count = 1_048_576
    "Maximum bytes queued for a slow client before its socket is closed."
    coalesce: Seconds = 0.005
    "Minimum seconds between flushes under load; the first message after a pause is sent immediately."
    end_with_token: bool = False
    "End a session when its token expires; if false, the token is checked only at join."
