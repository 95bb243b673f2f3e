"""Settings of the `fcm` connector."""

import json
from typing import Annotated

from pydantic import StringConstraints, model_validator

from connectors.toolkit.http import HttpSettings, HttpUrl, Seconds
from connectors.toolkit.service_accounts import ServiceAccountKey


class FcmSettings(HttpSettings):
    """A Firebase project and the service account to use there."""

    service_account: ServiceAccountKey
    """The service account's JSON key, or the path of the file that contains it."""
    project_id: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The Firebase project. Defaults to the project named in the key."""
    base_url: HttpUrl = "https://fcm.googleapis.com"
    """The base URL of the FCM API."""
    read_timeout_seconds: Seconds = 10
    """How long FCM or the token endpoint may go without sending any data."""
    total_timeout_seconds: Seconds = 10
    """How long one request may take in total. Sending a message can take up to four requests, two
    of them for access tokens."""

    @model_validator(mode="after")
    def _check_project(self) -> "FcmSettings":
        if not self.project:
            raise ValueError("project_id: the key does not name a project. Set project_id.")
        return self

    @property
    def project(self) -> str:
        """The project that messages are sent through."""
        from_key: object = json.loads(self.service_account.get_secret_value()).get("project_id")
        return self.project_id or (from_key if isinstance(from_key, str) else "")
