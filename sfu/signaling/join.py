"""How a socket gets its session: by resuming an old one, or with a token."""

from sfu.auth.tokens import Claims
from sfu.errors import AtCapacity, BadRequest, NotAuthorized
from sfu.ids import Identity
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.participant import Profile
from sfu.rooms.permissions import Permissions
from sfu.signaling.context import Context
from sfu.signaling.messages import PROTOCOL_VERSION, Join
from sfu.signaling.outbox import Socket
from sfu.signaling.session import Session, State


def join(context: Context, socket: Socket, join: Join, token: str) -> Session:
    """Raises RemoteErrors. `token`: from the message or the subprotocol; may be empty."""
    if join.protocol != PROTOCOL_VERSION:
        raise BadRequest(f"This server speaks version {PROTOCOL_VERSION}.", code="unsupported_protocol")
    if join.resume:
        session = context.sessions.get(join.resume)
        if session is not None and session.state is State.JOINED:
            session.attach(socket)
            session.resume(join.id, join.last)
            return session
        if not token:
            raise NotAuthorized("The session is gone.", code="resume_failed")
    claims = context.access.authenticate(token)
    profile = profile_of(claims, join)
    if context.draining:
        raise AtCapacity("This server is going down; try another.", code="draining")
    context.access.admit(claims.video.room)
    session = Session(context, claims, join.id, join.client)
    session.attach(socket)
    entry = context.rooms.join(claims.video.room, profile, session)
    if isinstance(entry, WaitingParticipant):
        session.wait(entry)
    else:
        session.admitted(entry)
    return session


def profile_of(claims: Claims, join: Join) -> Profile:
    """Raises NotAuthorized. The join completes name and attributes of the token, unless `canUpdateOwnMetadata` is false."""
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
