"""CORS headers for accepted origins: the methods and headers that pages may send and read (Fetch standard, 3.2).

`tests/api/test_cors.py` checks the methods against the route table.
"""

_HEADERS = (
    "Authorization", "Content-Type", "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since",
    "If-Unmodified-Since", "Cache-Control", "Pragma", "X-Requested-With", "Last-Event-ID",
)  # fmt: skip
_PLAYERS = ("X-Playback-Session-Id", "CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status")
"""Request headers of Safari, and of hls.js and Shaka with common media client data (CTA-5004)."""

API_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": ", ".join(_HEADERS),
    "Access-Control-Max-Age": "600",
}
MEDIA_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": ", ".join((*_HEADERS, *_PLAYERS)),
    "Access-Control-Max-Age": "600",
}
EXPOSED = ", ".join(
    (
        "Accept-Ranges", "Allow", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Range", "Date", "ETag",
        "Location", "Retry-After", "WWW-Authenticate",
    )
)  # fmt: skip
"""Response headers that scripts may read in addition to the CORS-safelisted ones."""
