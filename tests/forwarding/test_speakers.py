from sfu.forwarding.speakers import SpeakerDetector


class Meeting:
    def __init__(self) -> None:
        self.detector = SpeakerDetector()
        self.now = 0.0

    def hear(self, seconds: float, **levels: int | None) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.detector.observe(self.now, levels)


def test_silence_has_no_speaker() -> None:
    meeting = Meeting()
    meeting.hear(3, a=127, b=None)
    assert meeting.detector.dominant == ""
    assert meeting.detector.speakers == ()


def test_the_speaker_dominates_within_half_a_second() -> None:
    meeting = Meeting()
    meeting.hear(0.5, a=20, b=90)
    assert meeting.detector.dominant == "a"
    assert [key for key, _ in meeting.detector.speakers] == ["a"]


def test_a_cough_does_not_turn_heads_and_a_sentence_does() -> None:
    meeting = Meeting()
    meeting.hear(5, a=25, b=90)
    meeting.hear(0.3, a=25, b=5)
    meeting.hear(1, a=25, b=90)
    assert meeting.detector.dominant == "a"
    meeting.hear(2.5, a=100, b=20)
    assert meeting.detector.dominant == "b"


def test_the_loudest_is_first_and_levels_come_in_eighths() -> None:
    meeting = Meeting()
    meeting.hear(1, a=30, b=5)
    (first, loud), (second, quiet) = meeting.detector.speakers
    assert (first, second) == ("b", "a")
    assert loud > quiet
    assert (loud * 8).is_integer()


def test_a_speaker_that_leaves_is_forgotten_and_replaced() -> None:
    meeting = Meeting()
    meeting.hear(2, a=10, b=30)
    meeting.hear(1, b=30)
    assert meeting.detector.dominant == "b"


def test_only_changes_of_speakers_are_reported() -> None:
    detector = SpeakerDetector()
    told = [detector.observe(step / 10, {"a": 20}) for step in range(30)]
    assert [change is not None for change in told].count(True) == 1
