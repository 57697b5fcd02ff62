"""The answers of identity's routes about contracts that the pages of updates read."""

from pydantic import BaseModel


class ContractInList(BaseModel):
    """A contract of the organisation."""

    contract_id: str
    publisher: str
    programme: str


class ContractList(BaseModel):
    """The organisation's contracts. Of identity's `GET /contracts`."""

    items: list[ContractInList]


class ContractAccess(BaseModel):
    """Whether the person administers a contract.

    Of identity's `GET /contracts/{contract_id}/access`.
    """

    open: bool
    reason: str | None = None
