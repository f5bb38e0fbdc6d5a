import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sfu.auth.keys import jwks_keys, secret_key
from sfu.errors import ConfigurationError

EC = ec.generate_private_key(ec.SECP256R1())
EC_JWK: dict[str, Any] = {**jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "e"}
EC_PRIVATE: dict[str, Any] = {**jwt.algorithms.ECAlgorithm.to_jwk(EC, as_dict=True), "kid": "e"}
P384: dict[str, Any] = {
    **jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True),
    "kid": "p384",
}
WEAK_RSA: dict[str, Any] = {
    **jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True),
    "kid": "weak",
}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no keys"),
        ('{"keys": []}', "no keys"),
        ('{"keys": [{"kty": "EC"}]}', "number 1 has no kid"),
        ('{"keys": ["x"]}', "number 1 has no kid"),
        ('{"keys": [{"kid": "x", "kty": "strange"}]}', "'x' cannot be read"),
        ('{"keys": [{"kid": "x", "kty": "oct", "k": "AAAA"}]}', "private or shared"),
        (json.dumps({"keys": [EC_PRIVATE]}), "private or shared"),
        (json.dumps({"keys": [EC_JWK, EC_JWK]}), "two keys with the kid 'e'"),
        (json.dumps({"keys": [EC_JWK | {"use": "enc"}]}), "not a signing key"),
        (json.dumps({"keys": [EC_JWK | {"alg": "ES384"}]}), "'e'"),
        (json.dumps({"keys": [P384]}), "'p384' is neither"),
        (json.dumps({"keys": [WEAK_RSA]}), "'weak' is neither"),
    ],
)
def test_unusable_jwks(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        jwks_keys(text)


def test_jwks() -> None:
    (key,) = jwks_keys(json.dumps({"keys": [EC_JWK]}))
    assert (key.name, key.algorithm) == ("e", "ES256")


def test_secret_never_in_repr() -> None:
    assert "x" * 32 not in repr(secret_key("k", "x" * 32))


def test_secret_length_is_in_bytes() -> None:
    assert secret_key("k", "é" * 16).algorithm == "HS256"
    with pytest.raises(ConfigurationError, match="30 bytes"):
        secret_key("k", "é" * 15)
