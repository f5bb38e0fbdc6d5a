"""The tags of HLS playlists, and the order of variants in the multivariant playlist."""

import pytest

from sfu.outputs.hls import playlist
from sfu.outputs.hls.playlist import Captions, Variant


def variant(name: str, average: int) -> Variant:
    return Variant(
        uri=f"{name}.m3u8",
        bandwidth=average * 2,
        average=average,
        codecs="avc1.64001f,mp4a.40.2",
        width=640,
        height=360,
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (playlist.header(), "#EXTM3U\n#EXT-X-VERSION:9\n"),
        (playlist.target_duration(), "#EXT-X-TARGETDURATION:1\n"),
        (playlist.target_duration(6), "#EXT-X-TARGETDURATION:6\n"),
        (playlist.media_sequence(0), "#EXT-X-MEDIA-SEQUENCE:0\n"),
        (playlist.discontinuity_sequence(0), ""),
        (playlist.discontinuity_sequence(3), "#EXT-X-DISCONTINUITY-SEQUENCE:3\n"),
        (playlist.part_inf(), "#EXT-X-PART-INF:PART-TARGET=0.200\n"),
        (
            playlist.server_control(),
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.600,HOLD-BACK=3.000,CAN-SKIP-UNTIL=6.000\n",
        ),
        (playlist.extinf(1 / 3, "a.mp4"), "#EXTINF:0.33333,\na.mp4\n"),
        (playlist.map_("init.mp4"), '#EXT-X-MAP:URI="init.mp4"\n'),
        (playlist.part(0.2, "p.mp4", independent=False), '#EXT-X-PART:DURATION=0.20000,URI="p.mp4"\n'),
        (playlist.part(0.2, "p.mp4", independent=True), '#EXT-X-PART:DURATION=0.20000,URI="p.mp4",INDEPENDENT=YES\n'),
        (playlist.skip(7), "#EXT-X-SKIP:SKIPPED-SEGMENTS=7\n"),
        (playlist.preload_hint("p.mp4"), '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p.mp4"\n'),
        (playlist.rendition_report("q.m3u8", 4, 2), '#EXT-X-RENDITION-REPORT:URI="q.m3u8",LAST-MSN=4,LAST-PART=2\n'),
    ],
)
def test_tags(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_600.25, "2026-01-01T00:00:00.250Z"),
        (1_767_225_600.0004, "2026-01-01T00:00:00.000Z"),
        (1_767_225_599.9996, "2026-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_rounded_to_milliseconds(at: float, written: str) -> None:
    assert playlist.program_date_time(at) == f"#EXT-X-PROGRAM-DATE-TIME:{written}\n"


def test_constants_agree_with_the_rules_of_low_latency_playlists() -> None:
    assert playlist.PART_HOLD_BACK >= 3 * playlist.PART_TARGET  # 4.4.3.8
    assert playlist.HOLD_BACK >= 3 * playlist.TARGET_DURATION
    assert playlist.CAN_SKIP_UNTIL >= 6 * playlist.TARGET_DURATION
    assert playlist.PART_TARGET < playlist.TARGET_DURATION


@pytest.mark.parametrize(
    ("rates", "order"),
    [
        ([4_000_000, 1_500_000, 700_000], ["1500000", "4000000", "700000"]),
        ([4_000_000, 2_100_000, 1_800_000], ["2100000", "4000000", "1800000"]),
        ([700_000], ["700000"]),
    ],
)
def test_players_start_with_the_variant_that_suits_most_viewers(rates: list[int], order: list[str]) -> None:
    text = playlist.multivariant([variant(str(rate), rate) for rate in rates])
    assert [line.removesuffix(".m3u8") for line in text.splitlines() if line.endswith(".m3u8")] == order
    assert text.startswith("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n")
    assert "SUBTITLES" not in text


def test_variants_name_the_group_of_the_captions() -> None:
    captions = [Captions(uri="captions-en.m3u8", name='The "English"\r\ntrack', language="en")]
    media, first, _, second, _ = playlist.multivariant([variant("a", 1), variant("b", 2)], captions).splitlines()[3:]
    assert media == (
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="The \'English\'  track",LANGUAGE="en",'
        'DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="captions-en.m3u8"'
    )
    for line in (first, second):
        assert line.endswith(',CLOSED-CAPTIONS=NONE,SUBTITLES="captions"')


def test_a_variant_states_its_rates_codecs_and_size() -> None:
    assert variant("q", 700_000).render() == (
        '#EXT-X-STREAM-INF:BANDWIDTH=1400000,AVERAGE-BANDWIDTH=700000,CODECS="avc1.64001f,mp4a.40.2",'
        "RESOLUTION=640x360,FRAME-RATE=30.000,CLOSED-CAPTIONS=NONE\nq.m3u8\n"
    )
