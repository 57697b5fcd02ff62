"""Mails: what follows from events is put into the outbox once, written when it is sent, and sent until it is taken.

Promises: a mail is sent at least once, or parked with the server's words; its text is read from the log as it is sent.
Needs: the outbox's tables, and an SMTP server or a folder to write into.
"""
