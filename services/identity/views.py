"""The models of the responses of identity's queries, and functions that build them."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.identity.domain.contract import access_of, coordinating
from services.identity.domain.contract_state import OpenedContract
from shared.administrative_access import Denied
from shared.events.fields import Address, OptionalIdentifier
from shared.events.identity import Role
from shared.runtime.people import AT_ONCE


class Session(BaseModel):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105  # the scheme's name
    expires_in: int
    refresh_token: str
    """Valid once, for the next access token (POST /sessions/refresh)."""
    refresh_expires_in: int
    """The seconds until the session ends, however often it is refreshed."""
    session_id: str
    account_id: str
    organisation_id: str


class SessionView(BaseModel):
    session_id: str
    started: datetime
    last_used: datetime
    """When the session was begun or last refreshed."""
    expires: datetime
    current: bool
    """Whether it is the session of this request."""


class Nonce(BaseModel):
    """A nonce, which the issuer repeats in its ID token; valid once."""

    nonce: str
    expires_in: int


class LinkedIdentity(BaseModel):
    """An identity of another issuer, which signs in as the account."""

    issuer: str
    subject: str
    """Its id at the issuer."""


class CurrentSession(BaseModel):
    """The owner of an access token: a person in a session, or a machine account with its scopes."""

    account_id: str
    organisation_id: str
    session_id: str | None
    client_id: str | None
    scope: str | None


class SignedUp(BaseModel):
    """The additional fields of the response to a sign-up.

    Without a session, the person signs in with the password, or by the issuer.
    """

    session: Session | None = None
    """Present only if this request opened the account and set its password, if it has one: neither in a dry run nor
    for a repeated command."""


InvitationState = Literal["pending", "accepted", "revoked", "expired"]


class Invitation(BaseModel):
    """The additional fields of the response to an invitation, if this request issued it."""

    invitation: str | None = None
    """The token to sign up with, valid for the invited address only."""
    invitation_id: str | None = None
    expires_in: int | None = None
    organisation_name: str | None = None


class InvitationView(BaseModel):
    invitation_id: str
    organisation_id: str
    organisation_name: str
    organisation_kind: str
    email: str | None
    """The invited address, while the invitation is pending."""
    issued_by: str
    expires_at: datetime
    state: InvitationState
    account_id: str | None
    """The account that accepted it."""


class AccountView(BaseModel):
    account_id: str
    organisation_id: str
    organisation_name: str
    organisation_kind: str
    name: str
    email: str | None = None
    email_verified: bool | None = None
    """Whether the address was proven to belong to the person; of the caller's own account only."""
    country: str | None = None
    time_zone: str | None = None
    locale: str | None = None
    sandbox: bool = False


class AddressAsked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    email: Address


class AddressesAsked(BaseModel):
    """E-mail addresses whose accounts are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    items: Annotated[list[AddressAsked], Field(min_length=1, max_length=AT_ONCE)]
    organisation_id: OptionalIdentifier = ""
    """The organisation whose accounts are asked for, if not the caller's: a customer that has engaged the caller's."""


class AccountAtAddress(BaseModel):
    account_id: str | None
    """The organisation's account with the address; null if there is none."""


class AccountsByAddress(BaseModel):
    items: list[AccountAtAddress]
    """In the order of the addresses."""


class ClockMovedView(BaseModel):
    everywhere: bool
    """Whether every service decides the organisation's commands by the new time from now on."""
    waiting_for: list[str]
    """The services that have not returned the new time yet; they may still decide by the old one."""


class ClockView(BaseModel):
    """An organisation's time: real time, or the moved time of a sandbox."""

    organisation_id: str
    sandbox: bool
    ahead_s: int
    now: datetime


class HeldRole(BaseModel):
    contract_id: str
    role: Role
    may_assign_seats: bool


class PersonView(BaseModel):
    """A person of an organisation, for those who work with its people."""

    account_id: str
    name: str
    email: str | None
    """The address; null after somebody else has proven that it is theirs."""
    first_account: bool
    """Whether the organisation was founded with this account, which manages its people."""
    manages_people: bool
    """Whether the account manages the organisation's people, as the first account or by its leave."""
    joined_at: datetime
    roles: list[HeldRole]


RequestState = Literal["waiting", "approved", "declined"]


class RoleRequestView(BaseModel):
    """A person's own request for a role, with its answer."""

    request_id: str
    """The event's id."""
    contract_id: str
    role: Role
    message: str
    requested_at: datetime
    state: RequestState
    answered_by: str | None
    """The account that approved or declined it."""
    reason: str | None
    """Why it was declined, in the words of who declined it."""
    answered_at: datetime | None
    answer_id: str | None
    """The id of the event that answered."""


class RoleView(BaseModel):
    account_id: str
    role: str
    may_assign_seats: bool
    assigned_by: str
    event_id: str


class RequestView(BaseModel):
    account_id: str
    role: str
    message: str
    event_id: str


class AgreementView(BaseModel):
    subscription_id: str
    kind: str
    product: str
    event_id: str
    starts: date | None = None
    """The first day of an agreement that has not begun; null for one that runs."""
    time_zone: str | None = None
    """The zone of that day."""


class AccessView(BaseModel):
    """Whether the caller has administrative access.

    If not, `missing` is `role-missing` or `agreement-missing`.
    """

    open: bool
    missing: str | None = None
    reason: str | None = None
    because: list[str]


class ContractSummary(BaseModel):
    contract_id: str
    customer: str
    publisher: str
    programme: str
    manager: str


class ContractView(BaseModel):
    contract_id: str
    customer: str
    publisher: str
    programme: str
    roles: list[RoleView]
    requests: list[RequestView]
    coordinating: list[str]
    """The accounts with a Software Coordinator's rights: the named ones, or else the Contract Manager."""
    agreements: list[AgreementView]
    access: AccessView


def access_view(state: OpenedContract, account_id: str) -> AccessView:
    access = access_of(state, account_id)
    because = [event.ref for event in access.because]
    if isinstance(access, Denied):
        return AccessView(open=False, missing=access.rule, reason=access.reason, because=because)
    return AccessView(open=True, because=because)


def contract_view(state: OpenedContract, account_id: str) -> ContractView:
    held = [*([state.manager] if state.manager else []), *state.coordinators.values()]
    return ContractView(
        contract_id=state.opened.contract_id,
        customer=state.opened.customer,
        publisher=state.opened.publisher,
        programme=state.opened.programme,
        roles=[
            RoleView(
                account_id=r.account_id,
                role=r.role,
                may_assign_seats=r.may_assign_seats,
                assigned_by=r.assigned_by,
                event_id=r.ref,
            )
            for r in held
        ],
        requests=[
            RequestView(account_id=r.account_id, role=r.role, message=r.message, event_id=r.ref)
            for r in state.requests.values()
        ],
        coordinating=list(coordinating(state)),
        agreements=[
            AgreementView(subscription_id=a.subscription_id, kind=a.kind, product=a.product, event_id=a.ref)
            for a in state.agreements.values()
        ]
        + [
            AgreementView(
                subscription_id=a.subscription_id,
                kind=a.kind,
                product=a.product,
                event_id=a.ref,
                starts=a.starts,
                time_zone=a.time_zone,
            )
            for a in state.scheduled.values()
        ],
        access=access_view(state, account_id),
    )
