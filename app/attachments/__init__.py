"""The attachments of messages: how their content is obtained before a send."""
