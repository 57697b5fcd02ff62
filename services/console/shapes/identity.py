"""The answers of identity's routes, as far as the pages read them."""

from collections.abc import Iterable
from datetime import date, datetime

from pydantic import BaseModel


class Tokens(BaseModel):
    """A session's tokens.

    Of identity's `POST /sessions`, `POST /sessions/oidc` and `POST /sessions/refresh`.
    """

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    session_id: str


class Nonce(BaseModel):
    """What a provider has to repeat in its ID token. Of identity's `POST /sessions/oidc/nonce`."""

    nonce: str


class LinkedIdentity(BaseModel):
    """An identity of another provider, which signs in as the account."""

    issuer: str
    subject: str


class LinkedIdentities(BaseModel):
    """The account's identities, at most one of each issuer. Of identity's `GET /me/oidc`."""

    items: list[LinkedIdentity]


class SignedUp(BaseModel):
    """The answer to a sign-up. Of identity's `POST /accounts`."""

    session: Tokens | None = None
    """Missing if the answer repeats that to an earlier request."""


class Account(BaseModel):
    """The person's account. Of identity's `GET /me`."""

    account_id: str
    organisation_id: str
    organisation_name: str
    organisation_kind: str
    name: str
    email: str | None = None
    email_verified: bool | None = None
    country: str | None = None
    time_zone: str | None = None
    locale: str | None = None
    sandbox: bool = False


class Unread(BaseModel):
    """How many notifications are unread, up to 100.

    Of identity's `GET /me/notifications/unread`.
    """

    unread: int


class Notification(BaseModel):
    """A notification in the person's language."""

    notification_id: str
    title: str
    text: str
    """Paragraphs with an empty line between them; a quoted one has `> ` before each line."""
    happened_at: datetime
    read: bool
    page: str | None = None
    """The path of the page where the person can see to it."""


class Notifications(BaseModel):
    """A page of the inbox. Of identity's `GET /me/notifications`."""

    items: list[Notification]
    next: str | None


class Preference(BaseModel):
    """How the person is notified of one kind."""

    kind: str
    label: str
    email: bool
    inbox: bool
    required: bool


class Preferences(BaseModel):
    """How the person is notified. Of identity's `GET /me/notification-preferences`."""

    kinds: list[Preference]
    email_verified: bool


class Clock(BaseModel):
    """The organisation's time. Of identity's `GET /me/clock`."""

    sandbox: bool
    ahead_s: int
    now: datetime


class NamedAccount(BaseModel):
    """A person by name, and by address for those who may see it."""

    account_id: str
    name: str
    email: str | None
    organisation_name: str | None = None


class NamedAccounts(BaseModel):
    """The people behind account ids. Of identity's `POST /accounts/names`."""

    items: list[NamedAccount]


class HeldRole(BaseModel):
    """A role on a contract."""

    contract_id: str
    role: str
    may_assign_seats: bool


class Person(BaseModel):
    """A person with their roles. Of identity's `GET /people/{account_id}`."""

    account_id: str
    name: str
    email: str | None
    first_account: bool
    manages_people: bool
    joined_at: datetime
    roles: list[HeldRole]


class People(BaseModel):
    """A page of the organisation's people. Of identity's `GET /people`."""

    items: list[Person]
    next: str | None = None


# ── Contracts ──────────────────────────────────────────────────────────────────────────────────────────


class ContractSummary(BaseModel):
    """A contract in a list."""

    contract_id: str
    publisher: str
    programme: str
    manager: str


class Contracts(BaseModel):
    """A page of the organisation's contracts. Of identity's `GET /contracts`."""

    items: list[ContractSummary]
    next: str | None = None


class Role(BaseModel):
    """A role that somebody holds."""

    account_id: str
    role: str
    may_assign_seats: bool
    assigned_by: str


def manager_of(roles: Iterable[Role]) -> str:
    """Return the account of the Contract Manager, or "" if nobody is it."""
    return next((role.account_id for role in roles if role.role == "contract_manager"), "")


class RoleAsked(BaseModel):
    """A request for a role that waits."""

    account_id: str
    role: str
    message: str


class Agreement(BaseModel):
    """A subscription's agreement."""

    subscription_id: str
    kind: str
    product: str
    starts: date | None = None
    time_zone: str | None = None


class Access(BaseModel):
    """Whether the person has administrative access."""

    open: bool
    missing: str | None = None
    reason: str | None = None


class Contract(BaseModel):
    """A contract with its people. Of identity's `GET /contracts/{contract_id}`."""

    contract_id: str
    publisher: str
    programme: str
    roles: list[Role]
    requests: list[RoleAsked]
    coordinating: list[str]
    agreements: list[Agreement]
    access: Access

    def role_of(self, account_id: str) -> Role | None:
        """Return the role that a person holds."""
        return next((role for role in self.roles if role.account_id == account_id), None)

    @property
    def manager(self) -> str:
        """The account of the Contract Manager; "" while there is none."""
        return manager_of(self.roles)


class OwnRequest(BaseModel):
    """A person's own request for a role, with its answer."""

    contract_id: str
    role: str
    message: str
    requested_at: datetime
    state: str
    answered_by: str | None
    reason: str | None
    answered_at: datetime | None


class OwnRequests(BaseModel):
    """A person's own requests for roles. Of identity's `GET /me/role-requests`."""

    items: list[OwnRequest]
    next: str | None = None


# ── People ─────────────────────────────────────────────────────────────────────────────────────────────


class AtAddress(BaseModel):
    """A colleague's account, if there is one."""

    account_id: str | None


class AtAddresses(BaseModel):
    """Whose the addresses are. Of identity's `POST /accounts/by-address`."""

    items: list[AtAddress]


class Invitation(BaseModel):
    """An invitation and its outcome."""

    invitation_id: str
    email: str | None
    issued_by: str
    expires_at: datetime
    state: str


class Invitations(BaseModel):
    """The invitations into the organisation. Of identity's `GET /invitations`."""

    items: list[Invitation]
    next: str | None = None


class RunningSession(BaseModel):
    """A session of the person's."""

    session_id: str
    started: datetime
    last_used: datetime
    expires: datetime
    current: bool


class Sessions(BaseModel):
    """The person's sessions. Of identity's `GET /sessions`."""

    items: list[RunningSession]
