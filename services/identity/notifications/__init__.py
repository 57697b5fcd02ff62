"""Notifications: what events tell people, in their inbox and by e-mail.

Guarantees: an event is told to a person once, whatever is repeated, rebuilt or restored. Its text is composed when it
is read or mailed, in the person's language, and names nobody whose account is closed.
Requires: the tables of notifications, and the outbox of mails.
"""
