import argparse
import time

import pytest

from sfu import config
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import Verifier
from sfu.commands.access import api_requests, mint_token
from sfu.errors import ConfigurationError
from tests.commands.conftest import SECRET, ApiServer


def settings(keys: str) -> config.Settings:
    return config.load(file=None, environment={}, flags=[("auth.keys_file", keys)] if keys else [])


def test_a_token_has_the_grants_and_a_short_lifetime_by_default(keys: str) -> None:
    token = mint_token(settings(keys), VideoGrants(room="r", room_admin=True), argparse.Namespace())
    claims = Verifier({"app": SECRET}).verify(token, time.time())
    assert claims.video.may_administer("r")
    assert claims.expires_at - time.time() <= 60.0


def test_identity_name_and_lifetime_come_from_the_arguments(keys: str) -> None:
    arguments = argparse.Namespace(identity="ada", name="Ada", metadata="m", key="app", lifetime=600.0)
    token = mint_token(settings(keys), VideoGrants(room="r", room_join=True), arguments)
    claims = Verifier({"app": SECRET}).verify(token, time.time())
    assert (claims.identity, claims.name, claims.metadata) == ("ada", "Ada", "m")
    assert 540 < claims.expires_at - time.time() <= 600


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"key": "other"}, "no key named other"),
        ({"lifetime": 0.0}, "--lifetime must be"),
        ({"lifetime": 1e9}, "--lifetime must be"),
        ({"lifetime": float("nan")}, "--lifetime must be"),
    ],
)
def test_a_token_that_cannot_be_minted_is_an_error(keys: str, arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        mint_token(settings(keys), VideoGrants(room="r"), argparse.Namespace(**arguments))


def test_without_keys_there_is_no_token() -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.keys is empty"):
        mint_token(settings(""), VideoGrants(room="r"), argparse.Namespace())


def test_requests_carry_a_token_with_the_grants_of_the_request(keys: str, api: ApiServer) -> None:
    api.responses["/api/v1/rooms/r"] = {"name": "r"}
    request = api_requests(settings(keys), argparse.Namespace(url=api.url, token=""), "sfu-test")
    assert request("/rooms/r", grants=VideoGrants(room="r", room_admin=True)) == {"name": "r"}
    ((method, path, token),) = api.requests
    assert (method, path) == ("GET", "/api/v1/rooms/r")
    assert Verifier({"app": SECRET}).verify(token, time.time()).video.may_administer("r")


def test_a_given_token_is_used_as_it_is(keys: str, api: ApiServer) -> None:
    api.responses["/api/v1/rooms/r"] = {}
    request = api_requests(settings(keys), argparse.Namespace(url=api.url, token="given"), "sfu-test")
    request("/rooms/r", grants=VideoGrants(room="r"), method="DELETE")
    assert api.requests == [("DELETE", "/api/v1/rooms/r", "given")]
