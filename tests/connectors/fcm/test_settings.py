import pytest
from pydantic import ValidationError

from connectors.fcm.settings import FcmSettings
from tests.doubles.service_accounts import key_file


def test_project_is_that_of_the_key_unless_set():
    assert FcmSettings(service_account=key_file()).project == "demo-project"
    assert FcmSettings(service_account=key_file(), project_id="other").project == "other"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"service_account": key_file(project_id="")}, "project_id: the key does not name"),
        ({"service_account": "{}"}, "service_account"),
    ],
)
def test_invalid_settings_are_named_without_showing_the_key(settings, text):
    with pytest.raises(ValidationError, match=text) as raised:
        FcmSettings(**settings)

    assert "PRIVATE" not in str(raised.value)


def test_settings_do_not_reveal_the_key():
    assert "PRIVATE" not in repr(FcmSettings(service_account=key_file()))
