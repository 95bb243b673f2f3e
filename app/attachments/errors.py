"""Reasons why a file of a message cannot be sent.

The message itself has not been sent by then, so none of them is Uncertain, and no file is a
reason to pause an agent, so none is Misconfigured.
"""

from datetime import timedelta

from connectors.base import ErrorCode, Rejected, Unavailable

NOT_FOUND = ErrorCode("attachment_not_found", Rejected, "the file does not exist")
FORBIDDEN = ErrorCode("attachment_forbidden", Rejected, "the file server denies access")
REFUSED = ErrorCode(
    "attachment_refused",
    Rejected,
    "the file server rejects the request, redirects too often or to an address that is not"
    " followed",
)
ADDRESS = ErrorCode("attachment_address", Rejected, "the address of the file is not valid")
NETWORK = ErrorCode(
    "attachment_network",
    Rejected,
    "the host of the file is neither public nor in `POSTROOM_ATTACHMENT_NETWORKS`",
)
TOO_LARGE = ErrorCode(
    "attachment_too_large",
    Rejected,
    "the files of the message exceed `POSTROOM_ATTACHMENT_LIMIT_BYTES`",
)
CHECKSUM = ErrorCode("attachment_checksum", Rejected, "the content does not match `sha256`")
NOT_SUPPORTED = ErrorCode("attachment_not_supported", Rejected, "the agent cannot send such a file")
UNAVAILABLE = ErrorCode(
    "attachment_unavailable", Unavailable, "the file server is unreachable, slow, busy or failing"
)
STORAGE = ErrorCode(
    "attachment_storage",
    Unavailable,
    "the storage does not accept the configured credentials or region, or this server's clock",
)

ERRORS = (
    NOT_FOUND,
    FORBIDDEN,
    REFUSED,
    ADDRESS,
    NETWORK,
    TOO_LARGE,
    CHECKSUM,
    NOT_SUPPORTED,
    UNAVAILABLE,
    STORAGE,
)


class AttachmentError(Exception):
    """A file cannot be sent.

    `detail` contains no part of the file's address, which may be signed.
    """

    def __init__(
        self, code: ErrorCode, detail: str = "", retry_after: timedelta | None = None
    ) -> None:
        super().__init__(code.code, detail)
        self.code = code
        self.detail = detail or code.meaning
        self.retry_after = retry_after
