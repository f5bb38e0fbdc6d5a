import time

import pytest

from sfu.auth.tokens import Verifier
from sfu.cli import main
from tests.commands.conftest import SECRET


def test_token(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--keys-file", keys, "--room", "r", "--identity", "i", "--admin", "--source", "camera"]) == 0
    now = time.time()
    claims = Verifier({"app": SECRET}).verify(capsys.readouterr().out.strip(), now)
    assert claims.identity == "i"
    assert claims.video.may_join("r")
    assert claims.video.may_administer("r")
    assert claims.video.can_publish_sources == ("camera",)
    assert abs(claims.expires_at - now - 21_600) < 5


@pytest.mark.parametrize(("flags", "allowed"), [([], True), (["--no-update-metadata"], False)])
def test_token_without_permission_to_update_metadata(
    flags: list[str], allowed: bool, keys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "--keys-file", keys, "--room", "r", "--identity", "i", *flags]) == 0
    claims = Verifier({"app": SECRET}).verify(capsys.readouterr().out.strip(), time.time())
    assert claims.video.can_update_own_metadata is allowed


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--key", "other"], "no key named other"),
        (["--lifetime", "1e9"], "--lifetime must be"),
        (["--lifetime", "nan"], "--l"),
    ],
)
def test_token_refused(more: list[str], complaint: str, keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--keys-file", keys, "--room", "r", "--identity", "i", *more]) == 2
    assert complaint in capsys.readouterr().err
