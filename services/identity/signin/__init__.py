"""Signing in: credentials, sessions, tokens, invitations and machine accounts.

Guarantees: no password verifier, private key, refresh token or machine secret is in an event or a log line; a token or
secret is only in the response that issues it. Every service checks tokens with the keys that are published here.
Requires: identity's streams and read models, and its private tables, which can't be rebuilt from events.
"""
