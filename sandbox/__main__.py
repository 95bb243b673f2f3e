"""The sandbox: plays providers on loopback, so that a first run needs no account anywhere.

    python -m sandbox [--http-port N] [--smtp-port N] [--no-magic-recipients]

It takes messages over HTTP (`POST /gateway`, any method at `/api/<anything>`) and SMTP, keeps
them, shows them (`GET /` for people, `GET /received` for programs), and passes nothing on.

Some recipients make it misbehave, to try what Postroom does then. Telephone numbers, and any
other recipient over HTTP, by their last four digits:

    0400  answers 400                        0503  always answers 503
    0429  answers 429, Retry-After 2 s       0099  never answers
    0500  answers 500 twice, then accepts    0098  answers after 5 s
    0097  accepts, then drops the connection (first try only)

and mail by its local part at any domain (what follows a + is ignored):

    reject@  550 5.1.1                       greylist@     451 4.7.1 on the first try
    slow@    accepts after 5 s               unavailable@  421 4.3.2 and closes
    hang@    never answers                   drop@         accepts, then drops the connection
                                                           (first try only)

Two numbers Twilio never reaches: +15005553003 (30003) and +15005553005 (30005).

Any other misbehaviour is set with `PUT /control`; see `sandbox/behaviour.py`.

From the environment: POSTROOM_SANDBOX_HTTP_PORT (8025), POSTROOM_SANDBOX_SMTP_PORT (2525),
POSTROOM_SANDBOX_HOST (127.0.0.1), POSTROOM_SANDBOX_KEY (what the gateway asks for; none).
"""

from sandbox.server import run, sandbox_providers

if __name__ == "__main__":
    run(sandbox_providers(), __doc__)
