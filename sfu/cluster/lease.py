"""Decisions of a node, as a pure state machine: its lease, its homes, and its view of the directory.

The directory grants leases of `LEASE` seconds, counted from the moment it executes an announcement. A node trusts its lease
for `TRUST` seconds only, counted from the moment it sent the announcement. So it stops deciding before another node can
take its rooms over, even with slow clocks and a slow network.

- The directory does not answer: the node decides for `TRUST` seconds, and longer only while all its peers answer that the
  directory does not answer them either. Peers do not help before it has claimed its rooms again after an outage.
- The directory answers again, or has lost its state: the node claims its rooms again at once. It places no unknown room
  for `SETTLE` seconds, so that other nodes can do the same. A room that it has claimed since it sent the announcement that
  shows the loss can have a former home: the node gives it up.
- A node that vouches for a peer places no unknown room for `SETTLE` seconds either: its own directory can be slow only.
- The lease has ended (after a long pause, or a wrong proof of death): the node takes a new instance id and claims its
  rooms again. It loses a room that has another living home. Rooms about which it no longer decides are unknown rooms.

`SETTLE` is at least `TRUST` and at least `PEER_TRUST`: when a node claims a room that it does not know, the former home has
claimed the room again or has stopped deciding. tests/cluster/test_model.py checks this over random schedules of faults.
"""

from collections.abc import Iterable

from sfu.cluster.ports import Home

TRUST = 3.5
"""Seconds after sending an announcement for which a node trusts the lease."""
PEER_TRUST = 2.0
"""Seconds after asking its peers for which a node trusts that none of them reaches the directory."""
SETTLE = 3.5
"""Seconds after an outage in which a node places no unknown room."""
VERIFY_INTERVAL = 1.0
VERIFY_TIME = 6.0
"""After an outage, a node claims its homes again each `VERIFY_INTERVAL` seconds for so long: a former home that comes later
wins by its epoch, and the other one has to notice."""


class NodeLease:
    """`now` and `sent`: monotonic seconds. `homes` are the rooms that this node serves."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.homes: dict[str, Home] = {}
        self.reachable = False
        "The last request to the directory was answered."
        self._announced = False
        "The directory has known this instance."
        self._verify_at = float("inf")
        self._verify_until = 0.0
        self._trust_until = 0.0
        "End of decisions for rooms that the current instance has claimed."
        self._former_trust_until = 0.0
        "End of decisions for rooms that the former instance claimed."
        self._settle_until = 0.0
        self._lost_at = float("-inf")
        "When an announcement showed that the directory had lost its state."
        self._adopted: dict[str, float] = {}
        "Rooms that became homes since the last announcement was sent, and when."
        self._living: frozenset[str] | None = None
        "Instances in the last list of nodes."

    def announced(self, known: bool, sent: float, now: float) -> dict[str, Home]:
        """The directory renewed the lease. `known`: it knew the instance. Returns the homes that the node has to release,
        because another node can be their former home."""
        lost = self._announced and not known
        given_up: dict[str, Home] = {}
        returned = self._announced and not self.reachable
        if lost or returned:
            self._settle_until = now + SETTLE
        if not known or returned:
            # Also as a new node: it cannot know whether the directory lost its state just before.
            self._must_verify(now)
        self._adopted = {room: at for room, at in self._adopted.items() if at >= sent and room in self.homes}
        if lost:
            self._lost_at = now
            given_up = {room: self.homes.pop(room) for room in self._adopted}
            self._adopted = {}
            # A former home must not win by its epoch if another node could rightly take its room over meanwhile.
            self._former_trust_until = self._trust_until
            self.homes = {room: Home(home.node, "", home.epoch) for room, home in self.homes.items()}
        self._announced = self.reachable = True
        self._trust_until = max(self._trust_until, sent + TRUST)
        return given_up

    def unavailable(self) -> None:
        """The directory did not answer."""
        self.reachable = False

    def fenced(self, instance: str, now: float) -> None:
        """The lease has ended: continues as a new instance, which is announced next."""
        if self.reachable:
            # Another node took this one for dead, and takes its rooms over now.
            self._former_trust_until = 0.0
        else:
            self._former_trust_until = max(self._trust_until, self._former_trust_until)
            self._settle_until = now + SETTLE
        self._trust_until = 0.0
        self.instance = instance
        self._announced = False
        self.reachable = True
        self._must_verify(now)

    def saw_nodes(self, instances: Iterable[str]) -> None:
        """The directory returned the living instances, or one of them has ended since."""
        self._living = frozenset(instances)

    def vouches_for(self, instance: str, now: float) -> bool:
        """Whether a peer may go on without the directory, as far as this node knows. Otherwise its rooms can have another
        home. A node that has never seen the directory has taken no room over.

        This node takes no room over while the peer trusts the answer, even if only its last request was lost."""
        if self._living is not None and instance not in self._living:
            return False
        self._settle_until = max(self._settle_until, now + SETTLE)
        return True

    def renewed_by_peer(self, sent: float) -> None:
        """A peer announced this instance to the directory, which knew it."""
        if self._verified():
            self._trust_until = max(self._trust_until, sent + TRUST)

    def no_peer_reaches_directory(self, sent: float) -> None:
        """All peers vouch for this node, and the directory does not answer them. A node that has stopped deciding does not
        start again: a peer can have taken its rooms over before the directory was lost."""
        if sent < self._trust_until and self._verified():
            self._trust_until = max(self._trust_until, sent + PEER_TRUST)

    def decides(self, room: str, now: float) -> bool:
        """Whether this node is certain to be the home of the room."""
        home = self.homes.get(room)
        if home is None:
            return False
        return now < (self._trust_until if home.instance == self.instance else self._former_trust_until)

    def trusted(self, now: float) -> bool:
        """Whether the directory certainly knows this instance as living, or no node can reach the directory."""
        return now < self._trust_until

    def verification_due(self, now: float) -> bool:
        """Whether all homes must be claimed again now: the directory was away, has lost its state, or has ended the lease.
        True once; `verification_failed` repeats it."""
        if not self.reachable or now < self._verify_at:
            return False
        self._verify_at = now + VERIFY_INTERVAL if now < self._verify_until else float("inf")
        return True

    def verification_failed(self, now: float) -> None:
        self._verify_at = min(self._verify_at, now)

    def _verified(self) -> bool:
        """False: another node can have claimed a room of this node, which only the directory knows."""
        return self._verify_at == float("inf")

    def _must_verify(self, now: float) -> None:
        self._verify_at, self._verify_until = now, now + VERIFY_TIME

    def settling(self, now: float) -> bool:
        """Unknown rooms may have a home that has not claimed them again yet."""
        return now < self._settle_until

    def known_epoch(self, room: str, now: float) -> int:
        """The epoch with which to claim a room again; 0 when another node may rightly have taken it over."""
        return self.homes[room].epoch if self.decides(room, now) else 0

    def may_claim_again(self, room: str, now: float) -> bool:
        """False: the room can have a former home that has not claimed it again yet."""
        if self.decides(room, now) or not self.settling(now):
            return True
        self._verify_at = min(self._verify_at, self._settle_until)
        return False

    def adopt(self, room: str, home: Home, sent: float, now: float) -> bool:
        """Records the claim of a room that this node did not serve. `sent`: when it was sent. False: the directory has lost
        its state meanwhile, and the node has to release the home."""
        if home.instance != self.instance or sent <= self._lost_at or self.settling(now):
            return False
        self.homes[room] = home
        self._adopted[room] = now
        return True

    def claimed(self, room: str, home: Home) -> bool:
        """Records the answer when a room is claimed again. False: another node is the home, and this node drops the room."""
        if home.instance == self.instance:
            self.homes[room] = home
            return True
        self.homes.pop(room, None)
        return False
