"""Why a file of a message cannot be had. Nothing was sent when that shows, so no row here is
Uncertain; and no file is reason enough to stop an agent, so none is Misconfigured."""

from datetime import timedelta

from connectors.base import ErrorCode, Rejected, Unavailable

NOT_FOUND = ErrorCode("attachment_not_found", Rejected, "there is no such file, or no longer")
FORBIDDEN = ErrorCode("attachment_forbidden", Rejected, "its server does not let us read it")
REFUSED = ErrorCode(
    "attachment_refused",
    Rejected,
    "its server refuses the request, redirects too often, or to where we do not follow",
)
ADDRESS = ErrorCode("attachment_address", Rejected, "its address cannot be used")
NETWORK = ErrorCode(
    "attachment_network",
    Rejected,
    "its host is in no public network, nor in one of `POSTROOM_ATTACHMENT_NETWORKS`",
)
TOO_LARGE = ErrorCode(
    "attachment_too_large",
    Rejected,
    "the files of the message are larger than `POSTROOM_ATTACHMENT_LIMIT_BYTES`",
)
CHECKSUM = ErrorCode("attachment_checksum", Rejected, "the bytes do not have its `sha256`")
NOT_TAKEN = ErrorCode("attachment_not_taken", Rejected, "the agent does not take a file like this")
UNAVAILABLE = ErrorCode(
    "attachment_unavailable",
    Unavailable,
    "its server is out of reach, slow, too busy or faulty",
)
STORAGE = ErrorCode(
    "attachment_storage",
    Unavailable,
    "the storage does not accept our credentials, clock, region or set-up",
)

ERRORS = (
    NOT_FOUND,
    FORBIDDEN,
    REFUSED,
    ADDRESS,
    NETWORK,
    TOO_LARGE,
    CHECKSUM,
    NOT_TAKEN,
    UNAVAILABLE,
    STORAGE,
)


class AttachmentError(Exception):
    """One file cannot be had, for the reason of a row. The `detail` holds no part of its address,
    which may be signed."""

    def __init__(
        self, row: ErrorCode, detail: str = "", retry_after: timedelta | None = None
    ) -> None:
        super().__init__(row.code, detail)
        self.row = row
        self.detail = detail or row.meaning
        self.retry_after = retry_after
