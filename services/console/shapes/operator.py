"""What only the operator reads, of identity."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from services.console.shapes.identity import Agreement, Role, manager_of


class Told(BaseModel):
    """What became of a notification's mail."""

    notification_id: str
    account_id: str
    kind: str
    told_at: datetime
    in_inbox: bool
    mail: Literal["off", "waiting", "sent", "bounced", "suppressed"]
    reason: str | None
    mail_at: datetime | None


class Delivered(BaseModel):
    """A page of what people were told. Of identity's `GET /notifications`."""

    items: list[Told]
    next: str | None = None


class CustomersContract(BaseModel):
    """A contract in the list of all."""

    contract_id: str
    customer: str
    publisher: str
    programme: str
    manager: str


class AnyContracts(BaseModel):
    """A page of all customers' contracts. Of identity's `GET /contracts`."""

    items: list[CustomersContract]
    next: str | None = None


class AnyContract(BaseModel):
    """A customer's contract with its people. Of identity's `GET /contracts/{contract_id}`."""

    contract_id: str
    customer: str
    publisher: str
    programme: str
    roles: list[Role]
    agreements: list[Agreement]

    @property
    def manager(self) -> str:
        """The account of the Contract Manager; "" while there is none."""
        return manager_of(self.roles)


class Member(BaseModel):
    """Somebody with their organisation. Of identity's `GET /accounts/{account_id}`."""

    account_id: str
    name: str
    organisation_id: str
    organisation_name: str
    organisation_kind: str
