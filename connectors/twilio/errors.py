"""Twilio's error codes, of its API and of its delivery reports.

https://www.twilio.com/docs/api/errors has them all; these are the ones that a message can meet
and that say more than their HTTP status does. The list of Twilio grows: an unknown code of a
refused request is final, an unknown one of a report changes nothing of what the report says.
"""

from collections.abc import Mapping
from datetime import timedelta

from connectors.base import ErrorCode, Misconfigured, Rejected, Unavailable

# A queue that holds hours of traffic, or a handset that is off, is no better a few seconds on.
_MINUTES = timedelta(minutes=10)
_AN_HOUR = timedelta(hours=1)
_HOURS = timedelta(hours=4)

ERRORS = (
    # Of the API
    ErrorCode("20003", Misconfigured, "wrong credentials"),
    ErrorCode("20404", Misconfigured, "no such account, or a wrong address of the API"),
    ErrorCode("20429", Unavailable, "too many requests at once; this one was not processed"),
    ErrorCode("20500", Unavailable, "internal error of Twilio"),
    ErrorCode("21211", Rejected, "the recipient is no valid number"),
    ErrorCode("21212", Rejected, "the sender is no valid number"),
    ErrorCode("21408", Rejected, "the account may not send to this region"),
    ErrorCode("21602", Rejected, "the message has no content"),
    ErrorCode("21603", Rejected, "the message has no sender"),
    ErrorCode("21606", Rejected, "the sender cannot send this kind of message"),
    ErrorCode("21608", Rejected, "a trial account sends to verified numbers only"),
    ErrorCode("21609", Misconfigured, "the address for status reports is none that Twilio calls"),
    ErrorCode("21610", Rejected, "the recipient has opted out (STOP)", suppress="opt_out"),
    ErrorCode("21611", Unavailable, "the sender's queue is full (10 hours)", _MINUTES),
    ErrorCode("21612", Rejected, "no route from this sender to this recipient"),
    ErrorCode("21614", Rejected, "the recipient is no mobile number"),
    ErrorCode("21617", Rejected, "the text is longer than 1600 characters"),
    ErrorCode("21635", Rejected, "the recipient is a landline"),
    ErrorCode("21658", Rejected, "a parameter is too long"),
    ErrorCode("21659", Rejected, "the sender is no number of Twilio"),
    ErrorCode("21660", Rejected, "the sender belongs to another account"),
    ErrorCode("35125", Unavailable, "too many messages are scheduled", _AN_HOUR),
    # Of delivery
    ErrorCode("30001", Unavailable, "the queue overflowed (10 hours)", _MINUTES),
    ErrorCode("30002", Misconfigured, "the account is suspended"),
    ErrorCode("30003", Unavailable, "the handset is off or out of reach", _MINUTES),
    ErrorCode("30004", Rejected, "the carrier or the recipient blocks the message"),
    ErrorCode("30005", Rejected, "the recipient's number does not exist", suppress=True),
    ErrorCode("30006", Rejected, "a landline, or a carrier that cannot be reached"),
    ErrorCode("30007", Rejected, "filtered by the carrier as spam"),
    ErrorCode("30008", Unavailable, "the carrier gives no reason", _MINUTES),
    ErrorCode("30010", Rejected, "the message costs more than its highest price"),
    ErrorCode("30022", Unavailable, "faster than the carrier allows (US 10DLC)", _MINUTES),
    ErrorCode("30034", Misconfigured, "the sender is not registered (US 10DLC)"),
    ErrorCode("30450", Rejected, "blocked as SMS pumping"),
    # Of channels such as WhatsApp
    ErrorCode("63016", Rejected, "outside the 24 hours in which WhatsApp takes free text"),
    ErrorCode("63017", Unavailable, "too many messages a second on this channel"),
    ErrorCode("63018", Unavailable, "the channel's limit of 24 hours is used up", _HOURS),
    ErrorCode("63038", Unavailable, "the account's limit of 24 hours is used up", _AN_HOUR),
)
ERROR_OF_CODE: Mapping[str, ErrorCode] = {error.code: error for error in ERRORS}
