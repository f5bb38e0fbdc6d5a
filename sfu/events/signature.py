"""Signs webhooks as LiveKit does: a JWT (HS256) whose claim `sha256` is the hash of the body.

Source: livekit/protocol `webhook/url_notifier.go`, `auth/accesstoken.go`. RFC 7515, RFC 7519. The token is the whole
`Authorization` header, without `Bearer`.
"""

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64encode

LIFETIME = 300
"""Seconds that a signature is valid; each attempt gets a new one."""
_HEADER = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")


def sign(body: bytes, key: str, secret: str, now: float) -> str:
    """`key`: name of the API key, the token's `iss`. `now`: seconds since 1970."""
    digest = b64encode(hashlib.sha256(body).digest()).decode()
    claims = {"iss": key, "nbf": int(now), "exp": int(now) + LIFETIME, "sha256": digest}
    payload = urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode()).rstrip(b"=")
    signed = _HEADER + b"." + payload
    signature = urlsafe_b64encode(hmac.digest(secret.encode(), signed, "sha256")).rstrip(b"=")
    return (signed + b"." + signature).decode()
