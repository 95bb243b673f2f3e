"""Run the sandbox with the providers that only tests use.

They are controlled and inspected as the sandbox is: see `python -m sandbox --help`.
"""

from sandbox.server import run, sandbox_providers
from tests.doubles.fcm import fcm
from tests.doubles.m2m import m2m
from tests.doubles.oauth_api import oauth_api
from tests.doubles.sba import SBA
from tests.doubles.sendgrid import sendgrid

if __name__ == "__main__":
    run(
        "python -m tests.doubles",
        __doc__,
        [*sandbox_providers(), fcm(), m2m(), oauth_api(), SBA, sendgrid()],
    )
