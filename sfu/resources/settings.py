"""Settings of this server as one of the operator's machines: how full it may get, and how it goes."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    drain_timeout: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    "Seconds after SIGTERM that open meetings may go on, without new rooms; then, or when all are over, everybody is sent on."
    capacity_limit: Annotated[float, Meta(gt=0, le=1)] = 0.95
    "Used share of the capacity (CPU, bandwidth) from which on nobody new comes in; who is in stays, and may come back."
    memory_limit: Annotated[float, Meta(gt=0, le=1)] = 0.9
    "Used share of the memory from which on nobody new comes in and no programme starts."
    memory: Annotated[int, Meta(ge=0)] = 0
    "Bytes that this server and its programmes may take; 0: what its container may, or else what the machine has left."
    bandwidth: Annotated[int, Meta(ge=0)] = 0
    "Bits a second that the machine's network carries in each direction; 0: not counted."
