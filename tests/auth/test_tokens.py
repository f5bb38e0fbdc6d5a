"""Tokens in the format of LiveKit's server SDKs, built by hand from JSON and HMAC, and tokens that must be refused."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from sfu.auth.grants import VideoGrants
from sfu.auth.keys import jwks_keys
from sfu.auth.settings import Settings
from sfu.auth.tokens import Claims, Verifier, mint
from sfu.errors import ConfigurationError, NotAuthorized

NOW = 1_800_000_000.0
SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
KEYS = {"app": SECRET, "next": OTHER}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(payload: Any, *, header: Any = None, secret: str = SECRET, digest: str = "sha256") -> str:
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    signed = b64(json.dumps(head).encode()) + "." + b64(json.dumps(payload).encode())
    return signed + "." + b64(hmac.digest(secret.encode(), signed.encode(), digest))


def claims(**changes: Any) -> dict[str, Any]:
    base = {
        "iss": "app",
        "sub": "ada",
        "exp": NOW + 600,
        "video": {"room": "demo", "roomJoin": True},
    }
    return {name: value for name, value in (base | changes).items() if value is not None}


def public_jwk(key: Any, kid: str, **changes: Any) -> dict[str, Any]:
    name = "RSAAlgorithm" if isinstance(key, rsa.RSAPrivateKey) else "ECAlgorithm"
    jwk = getattr(jwt.algorithms, name).to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "kid": kid, "use": "sig", **changes}


# Tokens of each SDK according to its source: claim order, optional claims and header fields.
SDK_TOKENS = {
    "go": (
        {"alg": "HS256", "typ": "JWT"},
        {
            "exp": NOW + 21_600,
            "iss": "app",
            "name": "Ada",
            "nbf": NOW,
            "sub": "ada",
            "video": {
                "roomJoin": True,
                "room": "demo",
                "canPublish": True,
                "canSubscribe": False,
                "canPublishData": True,
                "canPublishSources": ["microphone", "screen_share"],
            },
            "metadata": "m",
            "attributes": {"team": "red"},
            "sha256": "",
            "kind": "standard",
        },
    ),
    "python": (
        {"alg": "HS256", "typ": "JWT"},
        {
            "identity": "ada",
            "name": "Ada",
            "video": {
                "roomJoin": True,
                "room": "demo",
                "canPublish": True,
                "canSubscribe": False,
                "canPublishData": True,
                "canPublishSources": ["microphone", "screen_share"],
            },
            "metadata": "m",
            "attributes": {"team": "red"},
            "sub": "ada",
            "iss": "app",
            "nbf": int(NOW),
            "exp": int(NOW + 21_600),
        },
    ),
    "node": (
        {"alg": "HS256"},
        {
            "name": "Ada",
            "metadata": "m",
            "attributes": {"team": "red"},
            "video": {
                "room": "demo",
                "roomJoin": True,
                "canPublish": True,
                "canSubscribe": False,
                "canPublishSources": ["microphone", "screen_share"],
                "canUpdateOwnMetadata": True,
            },
            "sip": {"admin": False},
            "iss": "app",
            "exp": int(NOW + 21_600),
            "nbf": 0,
            "sub": "ada",
        },
    ),
}


@pytest.mark.parametrize("sdk", SDK_TOKENS)
def test_tokens_of_livekit_sdks(sdk: str) -> None:
    header, payload = SDK_TOKENS[sdk]
    result = Verifier(KEYS).verify(token(payload, header=header), NOW)
    assert result.identity == "ada"
    assert (result.issuer, result.name, result.metadata, result.attributes) == ("app", "Ada", "m", {"team": "red"})
    assert result.expires_at == NOW + 21_600
    assert result.video == VideoGrants(
        room="demo",
        room_join=True,
        can_subscribe=False,
        can_publish_sources=("microphone", "screen_share"),
    )


def test_admin_token_without_identity() -> None:
    result = Verifier(KEYS).verify(token(claims(sub=None, video={"roomAdmin": True, "room": "demo"})), NOW)
    assert result.identity == ""
    assert result.video.may_administer("demo")
    assert not result.video.may_administer("other")
    assert not result.video.may_join("demo")


def test_two_keys_at_once() -> None:
    verifier = Verifier(KEYS)
    assert verifier.verify(token(claims()), NOW).issuer == "app"
    assert verifier.verify(token(claims(iss="next"), secret=OTHER), NOW).issuer == "next"


def test_token_id() -> None:
    verifier, text = Verifier(KEYS), token(claims())
    assert verifier.verify(text, NOW).token_id == hashlib.sha256(text.rpartition(".")[0].encode()).hexdigest()
    assert verifier.verify(token(claims(jti="T1")), NOW).token_id == "T1"


REFUSED = {
    "empty": ("", "token_missing"),
    "no token": ("abc", "token_malformed"),
    "two parts": ("a.b", "token_malformed"),
    "too long": ("a" * 9000, "token_malformed"),
    "surrogate": ("\ud800.a.b", "token_malformed"),
    "deep header": (b64(b"[" * 5000) + ".e30.e30", "token_malformed"),
    "deep payload": (
        b64(b'{"alg":"HS256"}') + "." + b64(b'{"x":' + b"[" * 4000 + b"}") + ".e30",
        "token_malformed",
    ),
    "payload is a list": (token([]), "token_malformed"),
    "no algorithm": (token(claims(), header={"typ": "JWT"}), "token_invalid"),
    "none": (token(claims(), header={"alg": "none"}), "token_invalid"),
    "none, unsigned": (
        b64(b'{"alg":"none"}') + "." + b64(json.dumps(claims()).encode()) + ".",
        "token_invalid",
    ),
    "HS512": (token(claims(), header={"alg": "HS512"}, digest="sha512"), "token_invalid"),
    "wrong secret": (token(claims(), secret=OTHER), "token_invalid"),
    "other key's secret": (token(claims(iss="next")), "token_invalid"),
    "unknown key": (token(claims(iss="who")), "token_invalid"),
    "no issuer": (token(claims(iss=None)), "token_invalid"),
    "critical extension": (token(claims(), header={"alg": "HS256", "crit": ["x"], "x": 1}), "token_malformed"),
    "no expiry": (token(claims(exp=None)), "token_invalid"),
    "expired": (token(claims(exp=NOW - 11)), "token_expired"),
    "lives too long": (token(claims(exp=NOW + 90_000)), "token_invalid"),
    "not yet": (token(claims(nbf=NOW + 11)), "token_not_yet_valid"),
    "expiry as text": (token(claims(exp="soon")), "token_malformed"),
    "identity is a number": (token(claims(sub=7)), "token_malformed"),
    "grant is a word": (token(claims(video={"roomAdmin": "yes"})), "token_malformed"),
    "sources are a word": (token(claims(video={"canPublishSources": "camera"})), "token_malformed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    text, code = REFUSED[case]
    with pytest.raises(NotAuthorized) as caught:
        Verifier(KEYS).verify(text, NOW)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "ada" not in caught.value.message


@pytest.mark.parametrize(
    ("exp", "nbf", "accepted"),
    [(-9, None, True), (-10, None, False), (600, 10, True), (600, 10.5, False), (86_410, None, True)],
)
def test_leeway(exp: float, nbf: float | None, accepted: bool) -> None:
    text = token(claims(exp=NOW + exp, nbf=None if nbf is None else NOW + nbf))
    if accepted:
        Verifier(KEYS).verify(text, NOW)
    else:
        with pytest.raises(NotAuthorized):
            Verifier(KEYS).verify(text, NOW)


class TestJwks:
    rsa_key = rsa.generate_private_key(65537, 2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())

    def verifier(self, **options: Any) -> Verifier:
        document = {"keys": [public_jwk(self.rsa_key, "r"), public_jwk(self.ec_key, "e", alg="ES256")]}
        return Verifier(KEYS, jwks_keys(json.dumps(document)), **options)

    @pytest.mark.parametrize(("algorithm", "kid"), [("RS256", "r"), ("ES256", "e")])
    def test_accepted(self, algorithm: str, kid: str) -> None:
        key: Any = self.rsa_key if kid == "r" else self.ec_key
        text = jwt.encode(claims(iss="idp"), key, algorithm=algorithm, headers={"kid": kid})
        assert self.verifier().verify(text, NOW).identity == "ada"
        assert self.verifier(jwks_issuer="idp").verify(text, NOW).issuer == "idp"
        with pytest.raises(NotAuthorized):
            self.verifier(jwks_issuer="else").verify(text, NOW)

    @pytest.mark.parametrize(
        ("algorithm", "headers"),
        [
            ("RS256", {"kid": "e"}),
            ("RS256", {}),
            ("RS256", {"kid": "x"}),
            ("RS512", {"kid": "r"}),
            ("PS256", {"kid": "r"}),
        ],
    )
    def test_wrong_key_or_algorithm(self, algorithm: str, headers: dict[str, str]) -> None:
        text = jwt.encode(claims(), self.rsa_key, algorithm=algorithm, headers=headers)
        with pytest.raises(NotAuthorized):
            self.verifier().verify(text, NOW)

    def test_public_key_is_no_shared_secret(self) -> None:
        """Algorithm confusion: HS256 with the text of the public key as secret."""
        pem = json.dumps(public_jwk(self.rsa_key, "r"))
        for issuer in ("app", "r"):
            with pytest.raises(NotAuthorized):
                self.verifier().verify(token(claims(iss=issuer), header={"alg": "HS256", "kid": "r"}, secret=pem), NOW)


def test_mint_and_verify() -> None:
    video = VideoGrants(room="demo", room_join=True, can_publish_sources=("camera",), hidden=True)
    text = mint(
        "app",
        SECRET,
        identity="ada",
        name="Ada",
        metadata="m",
        attributes={"a": "b"},
        video=video,
        now=NOW,
        token_id="T",
        lifetime=60,
    )
    assert Verifier(KEYS).verify(text, NOW) == Claims(
        issuer="app",
        identity="ada",
        name="Ada",
        metadata="m",
        attributes={"a": "b"},
        video=video,
        issued_at=NOW,
        expires_at=NOW + 60,
        token_id="T",
    )
    with pytest.raises(ConfigurationError):
        mint("devkey", "secret", identity="a", video=video, now=NOW, token_id="T")


def test_short_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.keys\.devkey has 6 bytes"):
        Verifier({"devkey": "secret"})
    with pytest.raises(ConfigurationError) as caught:
        Verifier.from_settings(Settings(keys={"k": "z" * 31}))
    assert "zzz" not in str(caught.value)


def test_repr_of_claims_hides_user_text() -> None:
    shown = repr(Verifier(KEYS).verify(token(claims(metadata="private", attributes={"a": "hush"})), NOW))
    assert "private" not in shown
    assert "hush" not in shown


def test_revocation_of_a_kicked_participant() -> None:
    verifier = Verifier(KEYS)
    first, second = token(claims(nbf=NOW - 5)), token(claims(nbf=NOW - 1, jti="other"))
    kicked = verifier.verify(first, NOW)
    verifier.revoke(kicked, NOW)
    for old in (first, second):
        with pytest.raises(NotAuthorized) as caught:
            verifier.verify(old, NOW + 1)
        assert caught.value.code == "token_revoked"
    assert verifier.verify(token(claims(nbf=NOW + 2)), NOW + 2)
    assert verifier.verify(token(claims(nbf=NOW - 5, video={"room": "else", "roomJoin": True})), NOW + 2)


def test_grants_round_trip() -> None:
    grants = VideoGrants(room="r", room_join=True, can_publish=False, can_publish_data=True, recorder=True)
    assert VideoGrants.from_claim(grants.to_claim()) == grants


@pytest.mark.parametrize(
    ("grants", "source", "allowed"),
    [
        (VideoGrants(), "camera", True),
        (VideoGrants(can_publish=False, can_publish_sources=("camera",)), "camera", False),
        (VideoGrants(can_publish_sources=("camera",)), "camera", True),
        (VideoGrants(can_publish_sources=("camera",)), "screen_share", False),
        (VideoGrants(can_publish_sources=("nonsense",)), "camera", False),
    ],
)
def test_may_publish(grants: VideoGrants, source: str, allowed: bool) -> None:
    assert grants.may_publish(source) is allowed


def test_data_follows_publishing_when_absent() -> None:
    verified = Verifier(KEYS).verify(token(claims(video={"room": "demo", "roomJoin": True, "canPublish": False})), NOW)
    assert not verified.video.can_publish_data


@given(st.text() | st.builds(lambda parts: ".".join(map(b64, parts)), st.lists(st.binary(), min_size=3, max_size=3)))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(NotAuthorized):
        Verifier(KEYS).verify(text, NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(["iss", "sub", "exp", "nbf", "iat", "jti", "name", "metadata", "attributes", "video"]), json_values
)
def test_any_signed_claim_is_read_or_refused(name: str, value: Any) -> None:
    try:
        result = Verifier(KEYS).verify(token(claims() | {name: value}), NOW)
    except NotAuthorized:
        return
    assert replace(result)


@given(st.integers(0, 200), st.characters())
def test_any_mutation_is_refused_or_means_the_same(position: int, character: str) -> None:
    good = token(claims())
    position %= len(good)
    try:
        result = Verifier(KEYS).verify(good[:position] + character + good[position + 1 :], NOW)
    except NotAuthorized:
        return
    assert result == Verifier(KEYS).verify(good, NOW)
    assert result.token_id == hashlib.sha256(good.rpartition(".")[0].encode()).hexdigest()
