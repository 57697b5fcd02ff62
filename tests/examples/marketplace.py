"""People, plans and days that marketplace's specs talk about."""

from datetime import UTC, date, datetime

from services.marketplace.domain.engagement import Engaged
from services.marketplace.domain.standing import CsnStanding, evolve
from shared.events import (
    AccountOpened,
    CsnIssued,
    CsnRevoked,
    Money,
    PartnerEngaged,
    PartnerReleased,
    Plan,
    PlanListed,
)
from shared.events.marketplace import Billing, Category, Period, Support

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = date(2026, 11, 23)
PARTNER, CUSTOMER = "partner-1", "customer-1"
CLERK, PURCHASER = "clerk-1", "purchaser-1"
AUTODESK = "autodesk"

AUTOCAD_ID = "C1RK1WW1762L158"


def euros(cents: int) -> Money:
    return Money(amount=cents, currency="EUR")


def plan(
    product_id: str = AUTOCAD_ID,
    product: str = "autocad",
    *,
    period: Period = "annual",
    support: Support = "basic",
    billing: Billing = "upfront",
    category: Category = "open",
    months: int = 12,
    price: int = 227_500,
    currency: str = "EUR",
    publisher: str = AUTODESK,
) -> Plan:
    return Plan(
        product_id=product_id,
        publisher=publisher,
        programme="subscription",
        product=product,
        product_name=product.title(),
        period=period,
        support=support,
        billing=billing,
        commitment_months=months,
        category=category,
        agreement="desktop",
        price=Money(amount=price, currency=currency),
    )


AUTOCAD = plan()
AUTOCAD_MONTHLY = plan("001I1006286T605", period="monthly", support="advanced", billing="instalments", price=240_001)
LT = plan("057O1WW6525L347", "autocad-lt", price=57_625)
LT_THREE_YEARS = plan("057I1007738L882", "autocad-lt", period="three_year", months=36, price=136_000)
VAULT = plan("569N1WW3740L562", "vault", category="specialised", price=125_000)
US_PLAN = plan("829N1WW3740L562", "revit", currency="USD", price=312_000)
OTHERS_PLAN = plan("AAAAAWW0001A001", "drawer", publisher="acme", price=1_000)

CSN = CsnIssued(csn="5100012345", organisation_id=PARTNER, publisher=AUTODESK, said_at=NOON).recorded("csn-issued-1")
WITH_CSN = evolve(CsnStanding(), CSN)
REVOKED = CsnRevoked(csn=CSN.csn, organisation_id=PARTNER, publisher=AUTODESK, reason="audit", said_at=NOON).recorded(
    "csn-revoked-1"
)
NO_CSN_ANY_MORE = evolve(WITH_CSN, REVOKED)

ENGAGED = PartnerEngaged(customer=CUSTOMER, partner=PARTNER, engaged_by=PURCHASER).recorded("engaged-1")
RELEASED = PartnerReleased(customer=CUSTOMER, partner=PARTNER, released_by=PURCHASER).recorded("released-1")
ACCEPTED = Engaged(ENGAGED)

PURCHASERS_ACCOUNT = AccountOpened(
    account_id=PURCHASER,
    organisation_id=CUSTOMER,
    organisation_name="Studio Nord",
    organisation_kind="customer",
    email="",
    name="",
    country="DE",
    time_zone="Europe/Berlin",
    locale="de",
    opened_at=NOON,
).recorded("account-opened-1")


def listed(*plans: Plan) -> tuple[PlanListed, ...]:
    return tuple(PlanListed(plan=p, said_at=NOON).recorded(f"listed-{p.product_id}") for p in plans)
