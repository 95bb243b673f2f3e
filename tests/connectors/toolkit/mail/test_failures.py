"""Which failed deliveries say that an address does not exist."""

from connectors.toolkit.mail.failures import classify

DEAD = [
    ("5.1.1", ""),
    ("5.1.1", "550 5.1.1 x"),
    ("5.1.1", "550-5.1.1 The email account that you tried to reach does not exist. Please try"),
    (
        "5.1.1",
        "550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown in relay table",
    ),
    ("5.1.1", "550 5.1.1 User ann (ann@x.example) not listed in Domino Directory"),
    ("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP lookup"),
    ("5.1.2", "550 Host unknown"),
    ("5.2.1", ""),
    ("5.2.1", "550 5.2.1 The email account that you tried to reach is disabled."),
    ("5.4.1", "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)"),
    ("5.1.351", "550 5.1.351 Remote server returned unknown recipient or mailbox unavailable"),
    ("5.4.4", "X-Postfix; Host or domain name not found. Name service error for name=x type=A"),
    ("5.4.310", "550 5.4.310 DNS domain example.com does not exist"),
    ("5.0.0", "550 User unknown"),
    ("5.0.0", "550 {mx001} <ann@example.com>... User unknown or not available"),
    ("550", "550 No such user here"),
    ("550", "550 Requested action not taken: mailbox not found"),
    (None, "This user doesn't have a yahoo.com account"),
    (None, "Sorry, this account has been disabled or discontinued [#102]."),
    ("5.1.1", "550 5.1.1 <spam-policy@example.com>: no such user"),
]
SOFT = [
    ("5.1.1", "552 5.2.2 Over quota"),
    ("5.1.1", "552 mailbox full"),
    ("5.2.1", "550 5.2.1 The account is temporarily disabled"),
    ("5.2.2", ""),
    ("4.4.7", ""),
    ("4.4.1", "connect to mail.example.com[192.0.2.25]:25: Connection timed out"),
    ("5.4.1", "No answer from host"),
    ("5.0.0", ""),
    ("5.5.0", "550 5.5.0 Requested action not taken: mailbox unavailable"),
    ("550", "550 x"),
    ("5.1.1", "451 4.1.1 try again later"),
    ("5.7.1", "550 5.7.1 No such user"),
    (None, ""),
]
NOT_THE_RECIPIENT = [
    ("5.1.1", "550 5.7.1 IP address blacklisted"),
    ("5.1.1", "550 Blocked by Spamhaus"),
    ("5.2.1", "450 4.2.1 The user is receiving mail at a rate that prevents additional messages"),
    ("5.2.1", "550 5.2.1 receiving mail at a rate that prevents additional messages"),
    ("5.1.1", "550 5.1.1 Recipient rejected due to local policy"),
    ("5.7.1", ""),
    ("5.7.26", "Unauthenticated email is not accepted due to the domain's DMARC policy"),
    ("5.6.0", "bad content"),
    ("5.1.8", "Sender address rejected: Domain not found"),
    ("5.3.4", "message too big"),
    ("500", "500 command not recognized"),
    ("550", "550 relaying denied"),
    ("4.7.1", "450 4.7.1 Greylisted"),
]


def test_an_address_is_dead_only_where_code_and_text_agree() -> None:
    failures = [
        (code, text, classify(code, text))
        for rows, expected in ((DEAD, True), (SOFT, "soft_bounce"), (NOT_THE_RECIPIENT, False))
        for code, text in rows
        if classify(code, text) != expected
    ]
    assert not failures
