"""Run simulated message providers on this machine. They accept messages and send nothing.

    python -m sandbox                                 HTTP on port 8025, SMTP on port 2525
    python -m sandbox --http-port 0 --smtp-port 0     free ports, printed when it is ready

HTTP paths:

    GET /                  web page with the latest messages and the rules in force
    GET /received          messages as JSON. Filters: kind, to, outcome, after, limit
    GET /received/count    number of messages: total, distinct, by kind, by outcome
    DELETE /received       delete all messages
    GET /control           rules in force
    PUT /control           add a rule that makes a provider fail (see sandbox/behaviour.py)
    DELETE /control        delete all rules

    POST /gateway          SMS and MMS gateway (kind "gateway")
    any /api/<recipient>   any HTTP API (kind "api")
    POST /twilio/...       Twilio (kind "twilio")

SMTP accepts mail from anyone to anyone, with or without a login (kind "smtp").

Some recipients always fail in the same way. Over HTTP, by their last four digits:

    0400  responds 400                       0503  always responds 503
    0429  responds 429, Retry-After 2 s      0099  never responds
    0500  responds 500 twice, then accepts   0098  responds after 5 s
    0097  accepts, then drops the connection (first attempt only)

Over SMTP, by their mailbox name at any domain (anything after a + is ignored):

    reject@       550 5.1.1
    greylist@     451 4.7.1 on the first attempt
    unavailable@  421 4.3.2, then closes the connection
    slow@         accepts after 5 s
    hang@         never responds
    drop@         accepts, then drops the connection (first attempt only)

Twilio reports messages to +15005553003 and +15005553005 as undelivered (errors 30003 and 30005).

Environment: POSTROOM_SANDBOX_HTTP_PORT, POSTROOM_SANDBOX_SMTP_PORT, POSTROOM_SANDBOX_HOST
(default 127.0.0.1) and POSTROOM_SANDBOX_KEY (the API key that the gateway requires; default none).
"""

from sandbox.server import run, sandbox_providers

if __name__ == "__main__":
    run("python -m sandbox", __doc__, sandbox_providers())
