"""What comes in from providers: webhooks, messages, polled receipts and mailboxes."""
