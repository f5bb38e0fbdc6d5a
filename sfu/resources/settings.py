"""Settings of this node: capacity limits and draining."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    drain_timeout: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    "Maximum seconds after SIGTERM that open meetings continue, without new rooms, before clients must reconnect elsewhere."
    capacity_limit: Annotated[float, Meta(gt=0, le=1)] = 0.95
    "Used fraction of CPU or bandwidth at which new joins are refused. Present participants stay and may resume."
    memory_limit: Annotated[float, Meta(gt=0, le=1)] = 0.9
    "Used fraction of memory at which new joins and egress jobs are refused."
    memory: Annotated[int, Meta(ge=0)] = 0
    "Bytes of memory for the server and its workers; 0: the container's limit, else the machine's available memory."
    bandwidth: Annotated[int, Meta(ge=0)] = 0
    "Network capacity in bits per second, each direction; 0: not monitored."
