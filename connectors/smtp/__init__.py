"""SMTP servers, and the mailboxes where bounces and answers arrive."""
