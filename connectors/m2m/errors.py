"""The error codes of MTS and what each one means for the message.

The service M2M reports a fault by its name, with HTTP status 500 for nearly all of them. Few of
the numbers that accompany the names are published. MTS Marketolog publishes its `error_code`
values only to account owners.
"""

from collections.abc import Mapping
from datetime import timedelta

from connectors.base import ErrorCode, Misconfigured, Rejected, Unavailable

# MTS does not say how long to wait. A quota is raised by contract or renewed monthly, not within
# minutes.
_QUOTA_WAIT = timedelta(hours=1)

FAULTS = (
    ErrorCode("SYSTEM_FAILURE", Unavailable, "a temporary problem at MTS"),
    ErrorCode("MESSAGE_HANDLING_ERROR", Unavailable, "MTS failed to process the message"),
    ErrorCode("TEST_LIMIT_EXCEEDED", Unavailable, "the trial quota is used up", _QUOTA_WAIT),
    ErrorCode(
        "TRUSTED_LIMIT_EXCEEDED",
        Unavailable,
        "the quota for subscribers added without their consent is used up",
        _QUOTA_WAIT,
    ),
    ErrorCode("INCORRECT_PASSWORD", Misconfigured, "invalid login, password or API key (103)"),
    ErrorCode("IP_NOT_ALLOWED", Misconfigured, "the account does not allow our IP address"),
    ErrorCode("ACCOUNT_IS_BLOCKED", Misconfigured, "the account is blocked"),
    ErrorCode("OPERATION_NOT_ALLOWED", Misconfigured, "the account lacks the permission"),
    ErrorCode("MSID_FORMAT_ERROR", Rejected, "the number is not in the form 7XXXXXXXXXX (506)"),
    ErrorCode("MESSAGE_FORMAT_ERROR", Rejected, "the message is malformed"),
    ErrorCode("MAX_LENGTH_EXCEEDED", Rejected, "the text is longer than 1000 characters"),
    ErrorCode("EMPTY_MESSAGE_NOT_ALLOWED", Rejected, "the message has no text"),
    ErrorCode("NO_SUCH_SUBSCRIBER", Rejected, "the account does not have this subscriber"),
    ErrorCode("MSID_IS_IN_BLACKLIST", Rejected, "the number is blacklisted", suppress="opt_out"),
    ErrorCode(
        "MSIDS_ARE_IN_BLACKLIST", Rejected, "all numbers are blacklisted", suppress="opt_out"
    ),
    ErrorCode("WRONG_ID", Rejected, "MTS does not know the id"),
    ErrorCode("TOO_MANY_PARAMETERS", Rejected, "the request contains too many values"),
    ErrorCode("OBJECT_ALREADY_EXISTS", Rejected, "a mailing list with this name exists"),
    ErrorCode("TIME_IS_IN_THE_PAST", Rejected, "the requested send time has passed"),
)
FAULT_BY_NAME: Mapping[str, ErrorCode] = {fault.code: fault for fault in FAULTS}

NOT_ACCEPTED = ErrorCode(
    "not_accepted", Rejected, "omnichannel: MTS returned internal_id 0 without an error code"
)

ERRORS = (*FAULTS, NOT_ACCEPTED)
