"""`postroom connectors`."""

from tests.app.cli.conftest import Postroom


def test_the_list_says_what_each_can_serve(postroom: Postroom) -> None:
    result = postroom("connectors", "list")
    assert (result.exit_code, result.stderr) == (0, "")
    [line] = [line for line in result.stdout.splitlines() if line.startswith("m2m")]
    assert "sms" in line
    assert "yes" in line


def test_a_connector_shows_its_settings_and_its_errors(postroom: Postroom) -> None:
    result = postroom("connectors", "show", "twilio")
    assert result.exit_code == 0
    assert "| `account_sid` | required |" in result.stdout
    assert "| `21610` | the recipient has opted out (STOP) |" in result.stdout


def test_an_unknown_one_is_answered_with_those_that_exist(postroom: Postroom) -> None:
    result = postroom("connectors", "show", "pigeon")
    assert result.exit_code == 3
    assert "twilio" in result.stderr
