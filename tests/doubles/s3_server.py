"""An S3 storage to read objects from, with path-style URLs and XML errors.

It verifies version 4 signatures, in the Authorization header or in a presigned URL.
"""

import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.doubles.file_server import Answer, FileServer, Request

KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION = "eu-test-1"
REGIONS = [REGION]
CLOCK_SKEW = timedelta(minutes=15)


def error(status: int, code: str) -> Answer:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(code)}</Code>'
        "<Message>as documented</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    )
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


@dataclass
class S3Server(FileServer):
    """`objects` by bucket and key. If `fault` is set, every signed request gets that response."""

    objects: dict[str, dict[str, Answer]] = field(default_factory=dict)
    fault: Answer | None = None

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if refusal := _refusal(request):
            return refusal
        if self.fault:
            return self.fault
        bucket, _, key = unquote(urlsplit(request.target).path).removeprefix("/").partition("/")
        if bucket not in self.objects:
            return error(404, "NoSuchBucket")
        return self.objects[bucket].get(key) or error(404, "NoSuchKey")


def _refusal(request: Request) -> Answer | None:
    """Return the error for a request without a valid signature, or None."""
    query = dict(parse_qsl(urlsplit(request.target).query))
    if "X-Amz-Signature" in query:
        return _refusal_of_query(request, query)
    scheme, _, fields = request.headers.get("Authorization", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return error(403, "AccessDenied")
    found = dict(part.strip().split("=", 1) for part in fields.split(","))
    if "x-amz-content-sha256" not in found["SignedHeaders"].split(";"):
        return error(400, "InvalidRequest")
    timestamp = request.headers["X-Amz-Date"]
    if abs(_parsed(timestamp) - datetime.now(UTC)) > CLOCK_SKEW:
        return error(403, "RequestTimeTooSkewed")
    return _mismatch(
        S3SigV4Auth, request, request.target, found["Credential"], found["SignedHeaders"],
        timestamp, found["Signature"],
    )  # fmt: skip


def _refusal_of_query(request: Request, query: dict[str, str]) -> Answer | None:
    signature = query.pop("X-Amz-Signature")
    signed_at = _parsed(query["X-Amz-Date"])
    if signed_at + timedelta(seconds=int(query["X-Amz-Expires"])) < datetime.now(UTC):
        return error(403, "AccessDenied")
    target = f"{urlsplit(request.target).path}?{urlencode(query)}"
    return _mismatch(
        S3SigV4QueryAuth, request, target, query["X-Amz-Credential"], query["X-Amz-SignedHeaders"],
        query["X-Amz-Date"], signature,
    )  # fmt: skip


def _mismatch(
    signer_class: type[S3SigV4Auth] | type[S3SigV4QueryAuth],
    request: Request,
    target: str,
    credential: str,
    signed_headers: str,
    timestamp: str,
    signature: str,
) -> Answer | None:
    key_id, day, region, *rest = credential.split("/")
    if key_id != KEY_ID:
        return error(403, "InvalidAccessKeyId")
    if (day, *rest) != (timestamp[:8], "s3", "aws4_request") or region not in REGIONS:
        return error(400, "AuthorizationHeaderMalformed")
    aws_request = AWSRequest(
        request.method,
        f"http://{request.headers['Host']}{target}",
        headers={name: request.headers[name] for name in signed_headers.split(";")},
    )
    aws_request.context["timestamp"] = timestamp
    signer = signer_class(Credentials(KEY_ID, SECRET), "s3", region)
    canonical = signer.canonical_request(aws_request)
    expected = signer.signature(signer.string_to_sign(aws_request, canonical), aws_request)
    if not hmac.compare_digest(expected, signature):
        return error(403, "SignatureDoesNotMatch")
    return None


def _parsed(timestamp: str) -> datetime:
    return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
