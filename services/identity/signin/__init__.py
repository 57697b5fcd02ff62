"""Signing in: by what somebody is known, who may come in, and for how long.

Promises: no verifier, key, refresh token or secret of a machine is in an event or a log line, and only the answer that
hands it out has it. Every service checks tokens by the keys that are published here.
Needs: identity's streams and read models, and its private tables, which no event makes again.
"""
