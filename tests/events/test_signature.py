"""Signatures of webhooks, verified by LiveKit's SDK and by PyJWT."""

import base64
import hashlib
import time

import jwt
import pytest
from livekit.api import TokenVerifier

from sfu.events.signature import LIFETIME, sign

SECRET = "a-secret-of-the-tests-with-more-than-32-bytes"


@pytest.mark.parametrize("body", [b"", b'{"event":"room_started"}', "naïve ✓".encode()])
def test_the_claim_is_the_hash_of_the_body(body: bytes) -> None:
    token = sign(body, "web", SECRET, 1_767_225_600.9)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False, "verify_nbf": False}) == {
        "iss": "web",
        "nbf": 1_767_225_600,
        "exp": 1_767_225_600 + LIFETIME,
        "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
    }


def test_livekits_sdk_accepts_it() -> None:
    token = sign(b"body", "web", SECRET, time.time())
    claims = TokenVerifier("web", SECRET).verify(token)
    assert claims.sha256 == base64.b64encode(hashlib.sha256(b"body").digest()).decode()


def test_another_secret_is_another_signature() -> None:
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(sign(b"", "web", SECRET, 0.0), SECRET[::-1], ["HS256"])
