"""The media type of a file."""

from app.attachments.media_types import UNKNOWN_TYPE, content_type


def test_type_is_as_declared_else_as_served_else_by_the_file_name() -> None:
    rows = [
        ("a.pdf", "text/x-note", "image/png", "text/x-note"),
        ("a.pdf", UNKNOWN_TYPE, "image/png", "image/png"),
        ("a.csv", UNKNOWN_TYPE, "text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("a.pdf", UNKNOWN_TYPE, UNKNOWN_TYPE, "application/pdf"),
        ("a.pdf", UNKNOWN_TYPE, "Binary/Octet-Stream", "application/pdf"),
        ("a.pdf", UNKNOWN_TYPE, "nonsense", "application/pdf"),
        ("a.pdf", UNKNOWN_TYPE, "application/octet-stream; a=b", "application/pdf"),
        ("a.pdf", UNKNOWN_TYPE, "", "application/pdf"),
        ("a", UNKNOWN_TYPE, "", UNKNOWN_TYPE),
    ]
    assert [(*row[:3], content_type(*row[:3])) for row in rows] == rows
