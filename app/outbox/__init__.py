"""The outbox: every change of an outbound message's status, and no other module makes one.

accept    into the outbox: from the API, or found there after a plain INSERT
claims    outbox → queued, and back where a lease ran out
delivery  queued → sending → sent, retry, failed or unknown
control   what people do: cancel, replay, pause, resume; and what time does: expire, forget
"""
