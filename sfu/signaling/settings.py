"""Settings of signalling: how long silence is borne, how much one party may ask and be sent."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
Duration = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    server: str = ""
    "This server's name as clients are told it; empty: none."
    heartbeat: Duration = 30.0
    "Seconds between pings; a socket from which nothing came for two of them is closed."
    resume_window: Seconds = 30.0
    "Seconds that a session outlives its socket."
    join_deadline: Duration = 10.0
    "Seconds a new socket has to join."
    close_deadline: Duration = 3.0
    "Seconds a client has to close its side of a socket that ends."
    max_sockets: Count = 10_000
    "Sockets open at once; further ones are refused with 503."
    unjoined_per_address: Count = 32
    "Sockets of one address that have not joined yet; further ones are refused with 429."
    trust_forwarded_for: bool = False
    "Treat every peer as a proxy of `http.trusted_proxies`. Safe only where no one but your proxy reaches the port."
    message_rate: Duration = 20.0
    "Messages a second from one participant, in the long run; large ones count as several."
    message_burst: Count = 100
    "Messages from one participant at once."
    flood_limit: Count = 500
    "Refused messages in a row after which a participant is sent away."
    data_channel_rate: Duration = 200.0
    "Data-channel messages a second from one participant; a long one counts once for each 2,048 bytes. The rest is dropped."
    replay_events: Count = 256
    "Events kept per session for a resume."
    replay_bytes: Count = 131_072
    "Bytes of events kept per session for a resume."
    queue_bytes: Count = 1_048_576
    "Bytes waiting for a client that does not read, after which its socket is closed."
    coalesce: Seconds = 0.005
    "Seconds between flushes when messages come thick; the first after a pause goes at once."
    end_with_token: bool = False
    "Whether a session ends when its token expires; if not, the token only opens the door."
