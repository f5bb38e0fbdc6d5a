"""A server in a public configuration: TLS, keys, invitations whose token stands behind the # of the address."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.certificate import self_signed
from tests.web.guest import Guest, Meeting
from tests.web.server import KEYS, ServerProcess, serve, token

SMALL = "320x180x15"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    certificate, key = self_signed(folder)
    settings = {
        "http.host": "localhost",
        "http.tls_certificate": certificate,
        "http.tls_key": key,
        "rtc.include_loopback": "true",
        "auth.leeway": 0,
        "log.access": "true",
    }
    async with serve(folder / "log", settings, KEYS, scheme="https") as running:
        yield running


async def invited(meeting: Meeting, name: str, *flags: str) -> Guest:
    guest = await meeting.invite(name, ignore_https_errors=True)
    await guest.enter(meeting.address(camera=SMALL, token=await token(meeting.room, name.lower(), *flags)))
    return guest


async def test_invited_people_meet_over_tls(meeting: Meeting, server: ServerProcess) -> None:
    ada, bob = await invited(meeting, "Ada", "--admin", "--name", "Ada"), await invited(meeting, "Bob", "--name", "Bob")

    await ada.sees(await bob.track())
    await bob.hears(await ada.track("microphone"))
    assert await bob.run("() => sfu.room.url.startsWith('wss://') && isSecureContext")
    assert await bob.run("() => sfu.room.state.me.identity") == "bob"
    assert await ada.run("() => sfu.room.state.permissions.admin")
    assert not await bob.run("() => sfu.room.state.permissions.admin")
    # The secret is gone from the address, and never was in a log.
    assert "token" not in await bob.run("() => location.href")
    assert "eyJ" not in server.log.read_text()


async def test_without_an_invitation_the_page_says_so(meeting: Meeting) -> None:
    eve = await meeting.invite("Eve", ignore_https_errors=True)

    await eve.page.goto(meeting.address())

    await eve.part("invitation-needed").wait_for()
    assert not await eve.part("join-button").is_visible()


async def refused(meeting: Meeting, invitation: str) -> str:
    """The reason that the page shows for an invalid invitation."""
    eve = await meeting.invite("Eve", ignore_https_errors=True)
    await eve.page.goto(meeting.address(camera=SMALL, token=invitation))
    await eve.part("name-input").fill("Eve")
    await eve.part("join-button").click()
    await eve.part("end").wait_for()
    assert "invitation" in (await eve.part("end").inner_text()).lower()
    return str(await eve.part("end").get_attribute("data-reason"))


async def test_an_invitation_that_does_not_work_is_explained(meeting: Meeting) -> None:
    good = await token(meeting.room, "eve")
    expired = await token(meeting.room, "eve", "--lifetime", "0.1")

    assert await refused(meeting, expired) == "token_expired"
    assert await refused(meeting, good[:-8] + "AAAAAAAA") == "token_invalid"
    assert await refused(meeting, "nonsense") == "token_malformed"


async def test_a_kicked_guest_does_not_come_back_with_the_same_token(meeting: Meeting) -> None:
    ada, bob = await invited(meeting, "Ada", "--admin"), await invited(meeting, "Bob")

    await ada.run("(id) => sfu.room.kick(id)", await bob.id())
    await bob.part("end").wait_for()
    await bob.page.reload()
    await bob.part("name-input").fill("Bob")
    await bob.part("join-button").click()

    await bob.part("end").wait_for()
    assert await bob.part("end").get_attribute("data-reason") == "token_revoked"


async def test_a_listener_sends_nothing(meeting: Meeting) -> None:
    ada, bob = await invited(meeting, "Ada"), await invited(meeting, "Bob", "--no-publish")

    await bob.sees(await ada.track())

    assert await bob.part("mic").is_disabled()
    assert await bob.streams("outbound", "video") == []
    answer = await bob.run(
        """() => sfu.room.publish(sfu.local.state.microphone.track.clone(), { source: 'microphone' })
            .then(() => 'done', ({ code }) => code)"""
    )
    assert answer == "not_authorized"
