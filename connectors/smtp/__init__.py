"""E-mail through an SMTP server, with bounces and replies read from an IMAP mailbox."""
