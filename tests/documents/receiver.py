"""A webhook's receiver by the library of Standard Webhooks: verifies the messages that it reads, and prints each id."""

import json
import sys

from standardwebhooks import Webhook

for line in sys.stdin:
    got = json.loads(line)
    event = Webhook(got["secret"]).verify(got["body"], got["headers"])
    sys.stdout.write(f"{event['id']}\n")
