"""The profile of a participant, from its token and its join message."""

from sfu.auth.tokens import Claims
from sfu.errors import NotAuthorized
from sfu.ids import Identity
from sfu.rooms.participant import Profile
from sfu.rooms.permissions import Permissions
from sfu.signaling.messages import Join


def profile_of(claims: Claims, join: Join) -> Profile:
    """Combines the token with the join message, which adds name and attributes unless `canUpdateOwnMetadata` is false.

    Raises NotAuthorized.
    """
    grants = claims.video
    if not grants.may_join(grants.room) or not claims.identity:
        raise NotAuthorized("This token does not allow joining a room.")
    own = grants.can_update_own_metadata
    return Profile(
        identity=Identity(claims.identity),
        permissions=Permissions.from_grants(grants),
        name=claims.name or (join.name if own else "") or claims.identity,
        metadata=claims.metadata,
        attributes={**(join.attributes if own else {}), **claims.attributes},
        auto_subscribe=join.auto_subscribe,
        may_create=grants.room_create,
    )
