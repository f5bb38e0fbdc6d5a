"""Settings of this node: capacity limits and draining."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    drain_timeout: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    "Seconds after SIGTERM for which open meetings continue, without new rooms, before all clients are asked to reconnect."
    capacity_limit: Annotated[float, Meta(gt=0, le=1)] = 0.95
    "CPU or bandwidth usage (0 to 1) at which joins are rejected. Participants stay connected and may reconnect."
    memory_limit: Annotated[float, Meta(gt=0, le=1)] = 0.9
    "Memory usage (0 to 1) at which joins and new egress jobs are rejected."
    memory: Annotated[int, Meta(ge=0)] = 0
    "Memory limit in bytes for the server and its egress workers. 0: the container limit, or else the free machine memory."
    bandwidth: Annotated[int, Meta(ge=0)] = 0
    "Network capacity in bit/s per direction. 0: network usage does not count."
