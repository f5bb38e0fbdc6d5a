"""The parts of the server that the HTTP API uses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sfu.api.ports import EgressPort, IngestPort, NodePort, NodesPort, RoomsPort
from sfu.auth.tokens import Verifier
from sfu.auth.turn_health import TurnStatus
from sfu.events.events import Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Operations of a part that is None answer with an error."""

    rooms: RoomsPort
    node: NodePort
    verifier: Verifier
    egress_jobs: EgressPort | None = None
    ingests: IngestPort | None = None
    events: Events | None = None
    nodes: NodesPort | None = None
    turn_servers: Callable[[], Sequence[TurnStatus]] = tuple
