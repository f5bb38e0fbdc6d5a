import pytest

from sfu.cli import main
from tests.commands.conftest import ApiServer


@pytest.mark.parametrize("before", [True, False])
def test_the_options_of_the_server_count_before_and_after_the_subcommand(
    keys: str, api: ApiServer, before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--keys-file", keys, "--url", api.url, "--token", "given"]
    main(["ingest", *options, "list"] if before else ["ingest", "list", *options])
    capsys.readouterr()
    assert {token for _, _, token in api.requests} == {"given"}
