"""Everything that comes in: webhooks, messages, receipts of polled providers, mailboxes."""
