"""Counters and state of this node's part in the cluster, for telemetry."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    nodes: int
    "Living nodes in the last list of the directory."
    directory_reachable: bool
    "The last request to the directory was answered."
    cut_off: bool
    "This node reaches neither the directory nor a peer: it does not decide."
    homes: int
    "Rooms whose home is this node."
    mirrored_rooms: int
    "Rooms of other nodes of which this node is an edge."
    edges: int
    "Edges of the rooms of this node, one for each room and node."
    links_lost: int
    "Links between homes and edges that missed a message, since the start."
    unsaved_rooms: int
    "Rooms with changes that the directory does not have yet."
    takeovers: int
    "Rooms that this node has restored since the start."
    lost_rooms: int
    "Rooms that this node has given up since the start, because another node is their home."
    snapshots_saved: int
    snapshots_refused: Mapping[str, int]
    "By reason."
    bus_refused: Mapping[str, int]
    "Messages of the bus, by reason."
    revocations_dropped: int
