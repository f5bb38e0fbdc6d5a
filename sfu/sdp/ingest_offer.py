"""Offers of encoders (WHIP, RFC 9725 4.4): every sending m-line is accepted, or the offer is refused with the reason.

A partial answer would be a stream without sound or picture that the encoder reports as live. M-lines that send no audio
or video, data channels among them, are rejected within the answer, because WHIP has no use for them.
"""

from dataclasses import dataclass, replace

from sfu.errors import BadRequest
from sfu.sdp.answer import AcceptedOffer, accept_offer
from sfu.sdp.description import MediaSection, SessionDescription

SENDING = ("sendrecv", "sendonly")
CODECS = {"audio": "Opus", "video": "VP8, H.264, VP9 or AV1"}


@dataclass(frozen=True, slots=True)
class IngestOffer:
    accepted: AcceptedOffer
    tracks: tuple[tuple[str, str], ...]
    "(mid, kind) of the sending m-lines, in their order."
    named: bool
    "Whether the m-lines have mids in the offer. If not, the answer must not have them either."
    grouped: bool
    "Whether the offer has a BUNDLE group."

    def adapt(self, answer: str) -> str:
        """The answer without the mids and the group that the offer does not have (RFC 5888 9.1, RFC 8843 7.3)."""
        if not self.grouped:
            answer = "\r\n".join(line for line in answer.split("\r\n") if not line.startswith("a=group:"))
        if not self.named:
            answer = "\r\n".join(line for line in answer.split("\r\n") if not line.startswith("a=mid:"))
        return answer


def accept_ingest(offer: SessionDescription) -> IngestOffer:
    """Raises BadRequest if an m-line that sends audio or video cannot be accepted."""
    sending = [section for section in offer.media if _sends(section)]
    if not sending:
        raise BadRequest("The offer sends neither audio nor video.", code="no_media")
    named = all(section.mid for section in sending)
    outside = [section for section in sending if section.mid not in offer.bundle]
    if outside and (offer.bundle or len(sending) > 1):
        raise BadRequest(
            "All m-lines must be in one BUNDLE group, because the server receives everything on one port.",
            code="bundle_required",
        )
    if not named:
        sending = [replace(sending[0], mid="0")]
    # Without codecs, an m-line is rejected; its transport attributes still count (RFC 8843 7.2).
    used = iter(sending)
    media = tuple([next(used) if _sends(section) else replace(section, codecs=()) for section in offer.media])
    accepted = accept_offer(replace(offer, media=media), data=False)
    for number, (section, choice) in enumerate(zip(media, accepted.choices, strict=True), 1):
        if _sends(section) and choice is None:
            raise BadRequest(
                f"The codecs of m-line {number} ({section.kind}) are not supported; offer {CODECS[section.kind]}.",
                code="unsupported_codec",
            )
    return IngestOffer(accepted, tuple([(section.mid, section.kind) for section in sending]), named, bool(offer.bundle))


def _sends(section: MediaSection) -> bool:
    return section.kind in CODECS and section.direction in SENDING and not section.rejected
