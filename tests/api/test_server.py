"""Listen addresses."""

import pytest

from sfu.api.settings import Settings
from sfu.errors import ConfigurationError
from tests.api.support import running


async def test_port_in_use_is_reported() -> None:
    async with running() as server:
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1 port {server.port}: .*in use"):
            async with running(Settings(port=server.port)):
                raise AssertionError("two servers on one port")
