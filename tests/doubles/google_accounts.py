"""Google service accounts: key files, and tokens for the assertions they sign (RFC 7523)."""

import base64
import binascii
import json
import secrets
import time
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from sandbox.provider import Request, Response, ResponseError, json_response

AUDIENCE = "https://oauth2.googleapis.com/token"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_SECONDS = 3599
MAX_ASSERTION_SECONDS = 3600
SKEW_SECONDS = 300


class ServiceAccount:
    """A service account with one key, created on first use, and its tokens."""

    key_id = "sandbox-key"

    def __init__(self, project: str, scopes: frozenset[str]) -> None:
        self.project = project
        self.email = f"postroom@{project}.iam.gserviceaccount.com"
        self._scopes = scopes
        self._expires_at: dict[str, float] = {}

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def key_file(self, token_uri: str) -> dict[str, str]:
        """Return the key file."""
        private_key = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self.key_id,
            "private_key": private_key.decode(),
            "client_email": self.email,
            "token_uri": token_uri,
        }

    def grant(self, request: Request) -> Response:
        """Issue a token for the assertion in the request.

        Raises:
            ResponseError: The assertion is not valid; with Google's error texts.
        """
        self._check(request)
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self._expires_at[token] = time.monotonic() + LIFETIME_SECONDS
        fields = {"access_token": token, "expires_in": LIFETIME_SECONDS, "token_type": "Bearer"}
        return json_response(200, fields)

    def is_authorized(self, authorization: str) -> bool:
        """Return whether this Authorization header has a valid token."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._expires_at.get(token, 0) > time.monotonic()

    def revoke_tokens(self) -> None:
        """Revoke all tokens issued so far."""
        self._expires_at.clear()

    def _check(self, request: Request) -> None:
        form = parse_qs(request.body.decode(errors="replace"))
        is_form = request.media_type() == "application/x-www-form-urlencoded"
        if not is_form or form.get("grant_type") != [GRANT_TYPE]:
            text = f"Invalid grant_type: {form.get('grant_type')}"
            raise _refusal("unsupported_grant_type", text)
        try:
            header, claims = verify(form.get("assertion", [""])[0], self._key.public_key())
        except InvalidSignature:
            raise _refusal("invalid_grant", "Invalid JWT Signature.") from None
        if header.get("kid") != self.key_id:
            raise _refusal("invalid_grant", "Invalid JWT Signature.")
        if claims.get("iss") != self.email:
            raise _refusal("invalid_grant", "Invalid grant: account not found")
        if claims.get("aud") != AUDIENCE:
            raise _refusal("invalid_grant", "Invalid JWT: Failed audience check.")
        if not _is_current(claims.get("iat"), claims.get("exp")):
            raise _refusal(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
                "timeframe. Check your iat and exp values in the JWT claim.",
            )
        scopes = str(claims.get("scope", "")).split()
        if not scopes or not self._scopes.issuperset(scopes):
            raise _refusal("invalid_scope", "Invalid OAuth scope or ID token audience provided.")


def verify(assertion: str, key: rsa.RSAPublicKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a JWT signed with RS256.

    Raises:
        InvalidSignature: The token is not a JWT signed with this key.
    """
    signing_input, _, signature = assertion.rpartition(".")
    try:
        key.verify(_decoded(signature), signing_input.encode(), padding.PKCS1v15(), SHA256())
        header, claims = (json.loads(_decoded(part)) for part in signing_input.split("."))
    except ValueError:
        raise InvalidSignature from None
    if not (isinstance(header, dict) and isinstance(claims, dict) and header.get("alg") == "RS256"):
        raise InvalidSignature
    return header, claims


def _decoded(part: str) -> bytes:
    """Decode base64url without padding (RFC 7515, 2)."""
    if "=" in part:
        raise binascii.Error("padded")
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _is_current(issued_at: object, expires_at: object) -> bool:
    if not isinstance(issued_at, int) or not isinstance(expires_at, int):
        return False
    now = time.time()
    return (
        issued_at <= now + SKEW_SECONDS
        and now < expires_at
        and 0 < expires_at - issued_at <= MAX_ASSERTION_SECONDS
    )


def _refusal(error: str, description: str) -> ResponseError:
    return ResponseError(json_response(400, {"error": error, "error_description": description}))
