"""Meets refusals by a client that was generated from the documents, and prints what it met, one a line."""

import json
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

client, models = (import_module(f"tenure_client.{name}") for name in ("client", "models"))
IDENTITY, MARKETPLACE, EMAIL, PASSWORD = (
    os.environ[name] for name in ("IDENTITY_URL", "MARKETPLACE_URL", "EMAIL", "PASSWORD")
)
identity, signed_out = client.Client(base_url=IDENTITY), client.Client(base_url=MARKETPLACE)


def operation(kind: str, name: str) -> ModuleType:
    return import_module(f"tenure_client.api.{kind}.{name}")


def met(response: Any) -> None:
    """Print a refusal, which the client has read into its model."""
    problem = response.parsed
    assert isinstance(problem, models.ProblemDetails), response
    said = {"status": int(response.status_code), "rule": problem.rule, "detail": problem.detail}
    sys.stdout.write(json.dumps(said) + "\n")


sign_in = models.SignIn(email=EMAIL, password=PASSWORD)
session = operation("queries", "sign_in").sync(client=identity, body=sign_in)
market = client.AuthenticatedClient(base_url=MARKETPLACE, token=session.access_token)
met(operation("queries", "carts").sync_detailed(client=signed_out))
met(operation("queries", "cart").sync_detailed("none", client=market))
opened = operation("commands", "open_cart").sync_detailed(client=market)
cart = opened.parsed.events[0].data.cart_id
discarded = operation("commands", "discard_cart").sync(cart, client=market)
assert isinstance(discarded, models.CartAnswer), discarded
add, line = operation("commands", "add_to_cart"), {"product_id": "C1RK1WW1762L158"}
met(add.sync_detailed(cart, client=market, body=models.AddToCart(seats=1, **line)))
met(add.sync_detailed(cart, client=market, body=models.AddToCart(seats=1, **line), if_match=opened.headers["ETag"]))
met(add.sync_detailed(cart, client=market, body=models.AddToCart(seats=1, product_id="x" * 1000)))
for number in range(40):
    account = models.SignUp(email=f"{number}@example.org", password=PASSWORD, name="Grace Hopper", country="DE")
    dry = models.SignUpDryRun("true")
    often = operation("commands", "sign_up").sync_detailed(client=identity, body=account, dry_run=dry)
    if often.status_code == 429:
        met(often)
        break
