"""Mails: the outbox, the composition of mails, and their delivery.

Guarantees: a mail that follows from an event is enqueued once, and delivered at least once, dropped, or parked with the
server's response. Its text is composed from the log when it is sent.
Requires: the outbox's tables, and an SMTP server or a folder.
"""
