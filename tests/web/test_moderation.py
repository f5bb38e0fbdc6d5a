"""Admins remove and mute participants, lock the room and admit from the lobby; the participants see why."""

from playwright.async_api import Locator

from tests.web.guest import Guest, Meeting

SMALL = "320x180x15"


async def open_people(guest: Guest) -> None:
    if not await guest.part("people-panel").is_visible():
        await guest.part("people-toggle").click()


async def row(host: Guest, guest: Guest) -> Locator:
    await open_people(host)
    return host.page.locator(f'[data-testid=person][data-participant="{await guest.id()}"]')


async def test_a_kick_ends_the_session(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    gone = await bob.id()
    await ada.sees(await bob.track())
    person = await row(ada, bob)

    await person.hover()
    await person.get_by_test_id("kick-person").click()
    await ada.part("kick-confirm").click()

    end = bob.part("end")
    await end.wait_for()
    assert await end.get_attribute("data-reason") == "kicked"
    assert "You were removed" in await end.inner_text()
    await bob.until(
        "closed connections", "() => watched.connections.every(({ connectionState }) => connectionState === 'closed')"
    )
    assert await bob.run("() => watched.sockets.every(({ readyState }) => readyState >= WebSocket.CLOSING)")
    await ada.until("Bob's departure", "(id) => !sfu.room.state.participants.has(id)", gone)
    assert [mark["detail"]["reason"] for mark in await ada.marks("participant_left")] == ["kicked"]
    assert await ada.page.locator("[data-testid=tile]").count() == 1


async def test_a_guest_may_not_kick(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)

    await open_people(bob)
    assert await bob.part("kick-person").count() == 0
    refused = await bob.run("(id) => sfu.room.kick(id).then(() => 'done', ({ code }) => code)", await ada.id())

    assert refused == "not_authorized"
    assert await ada.part("meeting").is_visible()


async def test_a_mute_by_the_host_stops_the_sound(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    cleo = await meeting.join("Cleo", camera=SMALL)
    microphone = await bob.track("microphone")
    await ada.hears(microphone)
    await cleo.hears(microphone)

    await (await row(ada, bob)).get_by_test_id("mute-person").click()

    await bob.part("toast").filter(has_text="Ada turned off your microphone").wait_for()
    await bob.until("his microphone off", "() => !sfu.state.local.microphone.wanted")
    await cleo.until(
        "silence",
        """async (track) => {
            const { packetsReceived, totalAudioEnergy } = (await watched.pictures())[track];
            const before = watched.heard;
            watched.heard = `${packetsReceived} ${totalAudioEnergy}`;
            return watched.heard === before;
        }""",
        microphone,
    )
    # A client that goes on sending is not heard either.
    before = await cleo.received(microphone)
    sent = (await bob.streams("outbound", "audio"))[0]["packetsSent"]
    await bob.run("() => { sfu.local.state.microphone.sent.enabled = true; }")
    await bob.until(
        "forty packets sent against the mute",
        """async (sent) => (await watched.streams()).find(({ type, kind }) => type === 'outbound-rtp' && kind === 'audio')
            .packetsSent > sent + 40""",
        sent,
    )
    after = await cleo.received(microphone)
    assert after["packetsReceived"] == before["packetsReceived"]

    await bob.part("mic").click()
    await cleo.hears(microphone)


async def test_the_lobby_lets_in_participants_that_the_host_admits(meeting: Meeting) -> None:
    ada = await meeting.join("Ada", camera=SMALL)
    await open_people(ada)
    await ada.part("lobby-room").click()
    await ada.until("the lobby", "() => sfu.room.state.room.lobby")

    bob = await meeting.join("Bob", camera=SMALL, waits=True)
    cleo = await meeting.join("Cleo", camera=SMALL, waits=True)
    waiting = ada.part("waiting-person")
    await waiting.filter(has_text="Bob").get_by_test_id("admit").click()
    await bob.part("meeting").wait_for()
    await waiting.filter(has_text="Cleo").get_by_test_id("deny").click()
    await cleo.part("end").wait_for()

    assert await cleo.part("end").get_attribute("data-reason") == "denied"
    await ada.sees(await bob.track())
    await bob.sees(await ada.track())


async def test_a_locked_room_says_so(meeting: Meeting) -> None:
    ada = await meeting.join("Ada", camera=SMALL)
    await open_people(ada)
    await ada.part("lock-room").click()
    await ada.until("the lock", "() => sfu.room.state.room.locked")

    bob = await meeting.invite("Bob")
    await bob.page.goto(meeting.address(camera=SMALL))
    await bob.part("name-input").fill("Bob")
    await bob.part("join-button").click()
    await bob.part("end").wait_for()
    assert await bob.part("end").get_attribute("data-reason") == "room_locked"
    assert "locked" in await bob.part("end").inner_text()

    await ada.part("lock-room").click()
    await ada.until("an unlocked room", "() => !sfu.room.state.room.locked")
    await bob.part("rejoin").click()
    await bob.part("join-button").click()
    await bob.part("meeting").wait_for()
