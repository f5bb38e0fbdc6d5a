"""Scope, expiry, revocation and secrets of playback tokens."""

import base64

import pytest

from sfu.api.playback_tokens import PlaybackTokens, derive_secrets
from sfu.auth.grants import VideoGrants
from sfu.auth.revocation import Revocations
from sfu.auth.tokens import Claims
from sfu.errors import NotAuthorized

SECRET = b"s" * 32
CLAIMS = Claims(issuer="app", identity="ada", video=VideoGrants(room="hall"), expires_at=2000.0, token_id="T")


def issued(playback_tokens: PlaybackTokens, nonce: bytes = b"nonce, 12 B.") -> str:
    return playback_tokens.issue("hall", CLAIMS, 1500.0, nonce)


def refusal(playback_tokens: PlaybackTokens, word: str, room: str = "hall", now: float = 1000.0) -> str:
    with pytest.raises(NotAuthorized) as caught:
        playback_tokens.check(word, room, now)
    return caught.value.code


def test_valid_for_one_room_until_expiry() -> None:
    playback_tokens = PlaybackTokens((SECRET,), Revocations())
    word = issued(playback_tokens)
    playback_tokens.check(word, "hall", 1499.0)
    assert refusal(playback_tokens, word, now=1500.0) == "token_expired"
    assert refusal(playback_tokens, word, "other") == "not_authorized"


def test_survives_a_restart_but_not_a_new_secret() -> None:
    word = issued(PlaybackTokens((SECRET,), Revocations()))
    PlaybackTokens((SECRET,), Revocations()).check(word, "hall", 1000.0)
    assert refusal(PlaybackTokens((b"t" * 32,), Revocations()), word) == "not_authorized"


@pytest.mark.parametrize(
    ("later", "opens"),
    [
        (("old" * 11,), True),
        (("old" * 11, "new" * 11), True),
        (("new" * 11, "old" * 11), True),
        (("new" * 11,), False),
    ],
)
def test_secrets_are_derived_from_token_keys(later: tuple[str, ...], opens: bool) -> None:
    word = issued(PlaybackTokens(derive_secrets(["old" * 11]), Revocations()))
    playback_tokens = PlaybackTokens(derive_secrets(later), Revocations())
    if opens:
        playback_tokens.check(word, "hall", 1000.0)
    else:
        assert refusal(playback_tokens, word) == "not_authorized"


def test_token_key_itself_does_not_sign() -> None:
    key = "k" * 32
    assert (
        refusal(
            PlaybackTokens(derive_secrets([key]), Revocations()), issued(PlaybackTokens((key.encode(),), Revocations()))
        )
        == "not_authorized"
    )


@pytest.mark.parametrize("word", ["", "x", "ü", "=" * 9, "A" * 35, "A" * 36, "A" * 8192, "-_" * 17])
def test_forged(word: str) -> None:
    assert refusal(PlaybackTokens((SECRET,), Revocations()), word) == "not_authorized"


def test_every_character_is_significant() -> None:
    playback_tokens = PlaybackTokens((SECRET,), Revocations())
    word = issued(playback_tokens)
    # The last character has two unused bits.
    for place in range(len(word) - 1):
        assert refusal(playback_tokens, word[:place] + ("A" if word[place] != "A" else "B") + word[place + 1 :])


def test_revoked_with_its_access_token() -> None:
    revocations = Revocations()
    playback_tokens = PlaybackTokens((SECRET,), revocations)
    word, other = issued(playback_tokens), issued(playback_tokens, b"other, 12 B.")
    revocations.revoke_participant("hall", "ada", now=1000.0, until=9000.0)
    assert refusal(playback_tokens, word) == refusal(playback_tokens, other) == "token_revoked"
    other_node = PlaybackTokens((SECRET,), revocations)
    assert refusal(other_node, word) == "token_revoked", "the token contains its holder"


def test_holder_is_not_readable() -> None:
    word = issued(PlaybackTokens((SECRET,), Revocations()))
    assert b"ada" not in base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))


def test_too_long_for_a_url() -> None:
    claims = Claims(
        issuer="app", identity="ada", video=VideoGrants(room="hall"), expires_at=2000.0, token_id="T" * 2048
    )
    with pytest.raises(NotAuthorized):
        PlaybackTokens((SECRET,), Revocations()).issue("hall", claims, 1500.0, b"nonce, 12 B.")
