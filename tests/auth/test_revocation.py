from sfu.auth.revocation import Revocations

NOW = 1000.0


def test_token_until_its_expiry() -> None:
    revocations = Revocations()
    revocations.revoke_token("T", now=NOW, until=NOW + 10)
    assert revocations.is_revoked("T", "r", "i", NOW + 5, NOW + 9)
    assert not revocations.is_revoked("U", "r", "i", 0, NOW)
    assert not revocations.is_revoked("T", "r", "i", 0, NOW + 10)


def test_participant_only_for_older_tokens() -> None:
    revocations = Revocations()
    revocations.revoke_participant("r", "i", now=NOW, until=NOW + 10)
    assert revocations.is_revoked("T", "r", "i", NOW, NOW + 1)
    assert revocations.is_revoked("T", "r", "i", 0, NOW + 1)
    assert not revocations.is_revoked("T", "r", "i", NOW + 1, NOW + 1)
    assert not revocations.is_revoked("T", "other", "i", NOW, NOW + 1)


def test_second_revocation_never_shortens_the_first() -> None:
    revocations = Revocations()
    revocations.revoke_token("T", now=NOW, until=NOW + 10)
    revocations.revoke_token("T", now=NOW + 1, until=NOW + 5)
    assert revocations.is_revoked("T", "", "", 0, NOW + 9)


def test_bounded() -> None:
    revocations = Revocations(limit=100)
    for number in range(1000):
        revocations.revoke_token(f"T{number}", now=NOW, until=NOW + 1 + number)
    assert len(revocations) == 100
    assert revocations.evicted == 900
    assert revocations.is_revoked("T999", "", "", 0, NOW)
    assert not revocations.is_revoked("T0", "", "", 0, NOW)


def test_expired_entries_go_first() -> None:
    revocations = Revocations(limit=10)
    for number in range(1000):
        revocations.revoke_token("same" if number % 2 else f"T{number}", now=NOW + number, until=NOW + number + 2)
    assert len(revocations) < 5
    assert revocations.evicted == 0
