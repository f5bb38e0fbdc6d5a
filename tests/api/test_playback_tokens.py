"""What a pass opens, and what it does not."""

import pytest

from sfu.api.playback_tokens import Passes, secrets_of
from sfu.auth.grants import VideoGrants
from sfu.auth.revocation import Revocations
from sfu.auth.tokens import Claims
from sfu.errors import NotAuthorized

SECRET = b"s" * 32
CLAIMS = Claims(issuer="app", identity="ada", video=VideoGrants(room="hall"), expires_at=2000.0, token_id="T")


def issued(passes: Passes, nonce: bytes = b"nonce!") -> str:
    return passes.issue("hall", CLAIMS, 1500.0, nonce)


def refusal(passes: Passes, word: str, room: str = "hall", now: float = 1000.0) -> str:
    with pytest.raises(NotAuthorized) as caught:
        passes.check(word, room, now)
    return caught.value.code


def test_it_opens_one_room_until_its_end() -> None:
    passes = Passes((SECRET,), Revocations())
    word = issued(passes)
    passes.check(word, "hall", 1499.0)
    assert refusal(passes, word, now=1500.0) == "token_expired"
    assert refusal(passes, word, "other") == "not_authorized"


def test_it_outlives_the_server_but_not_the_secret() -> None:
    word = issued(Passes((SECRET,), Revocations()))
    Passes((SECRET,), Revocations()).check(word, "hall", 1000.0)
    assert refusal(Passes((b"t" * 32,), Revocations()), word) == "not_authorized"


@pytest.mark.parametrize(
    ("later", "opens"),
    [
        (("old" * 11,), True),
        (("old" * 11, "new" * 11), True),
        (("new" * 11, "old" * 11), True),
        (("new" * 11,), False),
    ],
)
def test_keys_of_tokens_make_the_secrets(later: tuple[str, ...], opens: bool) -> None:
    word = issued(Passes(secrets_of(["old" * 11]), Revocations()))
    passes = Passes(secrets_of(later), Revocations())
    if opens:
        passes.check(word, "hall", 1000.0)
    else:
        assert refusal(passes, word) == "not_authorized"


def test_a_key_itself_is_no_secret_of_passes() -> None:
    key = "k" * 32
    assert (
        refusal(Passes(secrets_of([key]), Revocations()), issued(Passes((key.encode(),), Revocations())))
        == "not_authorized"
    )


@pytest.mark.parametrize("word", ["", "x", "ü", "=" * 9, "A" * 35, "A" * 36, "A" * 8192, "-_" * 17])
def test_invented(word: str) -> None:
    assert refusal(Passes((SECRET,), Revocations()), word) == "not_authorized"


def test_every_letter_counts() -> None:
    passes = Passes((SECRET,), Revocations())
    word = issued(passes)
    # The last letter has two bits that say nothing.
    for place in range(len(word) - 1):
        assert refusal(passes, word[:place] + ("A" if word[place] != "A" else "B") + word[place + 1 :])


def test_revoked_with_its_token() -> None:
    revocations = Revocations()
    passes = Passes((SECRET,), revocations)
    word, other = issued(passes), issued(passes, b"other!")
    revocations.revoke_participant("hall", "ada", now=1000.0, until=9000.0)
    assert refusal(passes, word) == refusal(passes, other) == "token_revoked"
