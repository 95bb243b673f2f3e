"""The outbox: the state machine of outbound messages. Nothing else writes an outbound status.

states    statuses and transitions
store     submissions → rows with status `outbox`
route     complete messages that were inserted by SQL
claim     outbox, retry → queued; release claims that were not used
start     queued → sending
deliver   run one attempt: rate limit, start, send, settle
outcome   what the outcome of an attempt means for its message
settle    sending → sent, retry, failed, unknown
receipts  apply the delivery receipts of providers
rescue    return messages whose lease has expired
cancel    outbox, queued, retry → cancelled
expire    outbox, queued, retry → expired
replay    ended messages → outbox
pause     pause and resume agents and the scheduler
purge     delete what is past its retention
"""
