"""The media type of a file."""

import mimetypes
import re

MEDIA_TYPE = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[!-~ ]+)?$"
UNKNOWN_TYPE = "application/octet-stream"
# The first means that the type is unknown (RFC 2046, 4.5.1), the second is what S3 reports then.
_UNKNOWN_TYPES = frozenset({UNKNOWN_TYPE, "binary/octet-stream"})


def content_type(name: str, *declared: str) -> str:
    """Return the first known media type of `declared`, else the usual one for the file name."""
    for candidate in (*declared, mimetypes.guess_type(name, strict=False)[0] or ""):
        media_type = candidate.partition(";")[0].lower()
        if re.match(MEDIA_TYPE, candidate) and media_type not in _UNKNOWN_TYPES:
            return candidate
    return UNKNOWN_TYPE
