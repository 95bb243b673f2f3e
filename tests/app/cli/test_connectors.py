"""`postroom connectors`."""

from tests.app.cli.conftest import Postroom


def test_list_shows_the_channels_of_each_connector(postroom: Postroom) -> None:
    result = postroom("connectors", "list")
    assert (result.exit_code, result.stderr) == (0, "")
    [line] = [line for line in result.stdout.splitlines() if line.startswith("m2m")]
    assert "sms" in line
    assert "yes" in line


def test_show_prints_the_settings_and_error_codes(postroom: Postroom) -> None:
    result = postroom("connectors", "show", "twilio")
    assert result.exit_code == 0
    assert "| `account_sid` | required |" in result.stdout
    assert "| `21610` |" in result.stdout


def test_unknown_connector_is_answered_with_the_installed_ones(postroom: Postroom) -> None:
    result = postroom("connectors", "show", "pigeon")
    assert result.exit_code == 3
    assert "twilio" in result.stderr
