"""Strict RFC 8216bis checker for these tests. Returns one sentence per violation."""

import re
from datetime import datetime

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"\n]*"|[^",\s]+)(?:,|$)')
REQUIRED = {
    "EXT-X-PART": {"URI", "DURATION"},
    "EXT-X-PART-INF": {"PART-TARGET"},
    "EXT-X-MAP": {"URI"},
    "EXT-X-PRELOAD-HINT": {"TYPE", "URI"},
    "EXT-X-RENDITION-REPORT": {"URI", "LAST-MSN", "LAST-PART"},
    "EXT-X-SKIP": {"SKIPPED-SEGMENTS"},
    "EXT-X-STREAM-INF": {"BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", "RESOLUTION", "FRAME-RATE"},
    "EXT-X-MEDIA": {"TYPE", "GROUP-ID", "NAME", "URI", "LANGUAGE"},
    "EXT-X-SERVER-CONTROL": set(),
}
QUOTED = {"URI", "CODECS", "GROUP-ID", "NAME", "LANGUAGE", "SUBTITLES"}
ONCE = ("EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF")
BEFORE_SEGMENTS = (*ONCE, "EXT-X-PLAYLIST-TYPE", "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-INDEPENDENT-SEGMENTS")
SEGMENT_TAGS = {"EXT-X-PART", "EXTINF", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-DISCONTINUITY", "EXT-X-SKIP"}


def attributes(value: str) -> dict[str, str]:
    found = dict(ATTRIBUTE.findall(value))
    assert "".join(f"{name}={word}," for name, word in ATTRIBUTE.findall(value)).rstrip(",") == value, value
    return found


def lines(text: str) -> list[tuple[str, str]]:
    """(tag without #, value); a URI has an empty tag."""
    found = []
    for line in text.split("\n")[:-1]:
        tag, _, value = line[1:].partition(":") if line.startswith("#") else ("", "", line)
        found.append((tag, value))
    return found


def general(text: str) -> list[str]:
    wrong = []
    if not text.startswith("#EXTM3U\n"):
        wrong.append("4.4.1.1: does not begin with EXTM3U")
    if not text.endswith("\n") or "\r" in text or "\n\n" in text:
        wrong.append("4.1: lines")
    for tag, value in lines(text):
        if tag in REQUIRED:
            given = attributes(value)
            if missing := REQUIRED[tag] - set(given):
                wrong.append(f"{tag} lacks {missing}")
            wrong += [f"{tag}: {name} is no quoted-string" for name in QUOTED & set(given) if given[name][0] != '"']
    return wrong


def media(text: str) -> list[str]:
    """Violations in a live playlist, a delta update or a VOD playlist."""
    wrong, found = general(text), lines(text)
    tags = [tag for tag, _ in found]
    values = dict(reversed(found))
    wrong += [f"{tag} occurs {tags.count(tag)} times" for tag in ONCE if tags.count(tag) > 1]
    if "EXT-X-TARGETDURATION" not in tags:
        return [*wrong, "4.4.3.1: no target duration"]
    first_segment = next((place for place, tag in enumerate(tags) if tag in SEGMENT_TAGS), len(tags))
    wrong += [f"{tag} comes after a segment" for tag in BEFORE_SEGMENTS if tag in tags[first_segment:]]
    target = int(values["EXT-X-TARGETDURATION"])
    part_target = float(attributes(values["EXT-X-PART-INF"])["PART-TARGET"]) if "EXT-X-PART-INF" in tags else 0.0
    control = attributes(values.get("EXT-X-SERVER-CONTROL", ""))
    ended = "EXT-X-ENDLIST" in tags
    if "EXT-X-PART" in tags and not part_target:
        wrong.append("4.4.3.7: parts without PART-INF")
    if part_target:
        if float(control.get("PART-HOLD-BACK", 0)) < 2 * part_target:
            wrong.append("4.4.3.8: PART-HOLD-BACK is too small")
        if control.get("CAN-BLOCK-RELOAD") != "YES":
            wrong.append("4.4.3.8: low latency without blocking reload")
        if not ended and tags.count("EXT-X-PRELOAD-HINT") != 1:
            wrong.append("no preload hint")
    if "HOLD-BACK" in control and float(control["HOLD-BACK"]) < 3 * target:
        wrong.append("4.4.3.8: HOLD-BACK is too small")
    if "CAN-SKIP-UNTIL" in control and float(control["CAN-SKIP-UNTIL"]) < 6 * target:
        wrong.append("4.4.3.8: CAN-SKIP-UNTIL is too small")
    if int(values.get("EXT-X-VERSION", 1)) < (9 if "EXT-X-SKIP" in tags else 6 if "EXT-X-MAP" in tags else 3):
        wrong.append("8: the version is too low")
    return wrong + _segments(found, target, part_target)


def _segments(found: list[tuple[str, str]], target: int, part_target: float) -> list[str]:
    wrong: list[str] = []
    mapped, extinf, in_parts, parts = False, 0.0, 0.0, 0
    clock: datetime | None = None
    ends: float | None = None
    broken = False
    tail = False
    for tag, value in found:
        if tag == "EXT-X-SKIP":
            mapped = True
        elif tag == "EXT-X-MAP":
            mapped = True
            if parts:
                wrong.append("4.4.4.5: a map inside a segment")
        elif tag == "EXT-X-DISCONTINUITY":
            broken = True
        elif tag == "EXT-X-PROGRAM-DATE-TIME":
            clock = datetime.fromisoformat(value)
            if parts:
                wrong.append("a date inside a segment")
            if ends is not None and not broken and abs(clock.timestamp() - ends) > 0.0021:
                wrong.append(f"6.2.1: dates differ from durations by {clock.timestamp() - ends:.4f} s")
            ends, broken = clock.timestamp(), False
        elif tag == "EXT-X-PART":
            given = attributes(value)
            duration = float(given["DURATION"])
            if not mapped:
                wrong.append("4.4.4.5: no map")
            if duration > part_target + 1e-6:
                wrong.append(f"4.4.4.9: a part of {duration} s")
            if parts == 0 and given.get("INDEPENDENT") != "YES":
                wrong.append("a segment does not begin independently")
            in_parts, parts = in_parts + duration, parts + 1
        elif tag == "EXTINF":
            extinf = float(value.rstrip(","))
            if round(extinf) > target:
                wrong.append(f"4.4.3.1: a segment of {extinf} s")
            if parts and abs(in_parts - extinf) > 0.001:
                wrong.append(f"4.4.4.9: parts of {in_parts} s in a segment of {extinf} s")
            if not mapped:
                wrong.append("4.4.4.5: no map")
            if clock is None:
                wrong.append("a segment without a date")
        elif tag == "" and extinf:
            ends = ends + extinf if ends is not None else None
            extinf, in_parts, parts = 0.0, 0.0, 0
        elif tag in ("EXT-X-PRELOAD-HINT", "EXT-X-RENDITION-REPORT", "EXT-X-ENDLIST"):
            tail = True
            continue
        if tail:
            wrong.append(f"{tag or value} comes after the tail")
    return wrong


def apply(old: str, update: str) -> str:
    """Applies a delta update (6.2.5.1): skipped segments come from the previous playlist."""
    count = int(attributes(dict(lines(update))["EXT-X-SKIP"])["SKIPPED-SEGMENTS"])
    first = int(dict(lines(update))["EXT-X-MEDIA-SEQUENCE"])
    known: dict[int, list[str]] = {}
    number, block = int(dict(lines(old))["EXT-X-MEDIA-SEQUENCE"]), []
    for line in old.split("\n")[:-1]:
        tag = line[1:].partition(":")[0] if line.startswith("#") else ""
        if tag in SEGMENT_TAGS or not tag:
            if tag != "EXT-X-PART":
                block.append(line)
            if not tag:
                known[number], block, number = block, [], number + 1
    kept = [line for msn in range(first, first + count) for line in known[msn]]
    head, _, tail = update.partition(next(line for line in update.split("\n") if "EXT-X-SKIP" in line) + "\n")
    return head + "\n".join(kept) + "\n" + tail
