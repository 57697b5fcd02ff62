"""The account portal: a customer's contracts, people, subscriptions, seats and credits."""

from typing import Final

from services.console.areas import EVERYONE, Area, Kind, Link, PageAt, Watch
from services.console.pages.portal import (
    contracts,
    credits,
    partners,
    people,
    roles,
    seats,
    sessions,
    subscriptions,
    watches,
)
from services.console.texts import marked

CUSTOMER: Final[frozenset[Kind]] = frozenset({"customer"})

AREA: Final = Area(
    name="portal",
    pages=(
        PageAt(path="/contracts", show=contracts.contracts),
        PageAt(path="/contracts/{contract_id}", show=contracts.contract_page),
        PageAt(path="/contracts/{contract_id}/history", show=contracts.contract_history),
        PageAt(path="/contracts/{contract_id}/ask", show=roles.ask_role, act=roles.send_role_request),
        PageAt(
            path="/contracts/{contract_id}/requests/{account_id}",
            show=roles.answer_page,
            act=roles.answer,
        ),
        PageAt(
            path="/contracts/{contract_id}/coordinators",
            show=roles.coordinator_page,
            act=roles.name_coordinator,
        ),
        PageAt(
            path="/contracts/{contract_id}/coordinators/{account_id}",
            show=roles.role_page,
            act=roles.withdraw_role,
        ),
        PageAt(path="/contracts/{contract_id}/handover", show=roles.handover_page, act=roles.hand_over),
        PageAt(path="/people", show=people.people, act=people.withdraw_invitation),
        PageAt(path="/people/invite", show=people.invite_page, act=people.invite),
        PageAt(path="/people/leavers", show=people.leavers_page, act=people.remove_leavers),
        PageAt(path="/people/{account_id}", show=people.person_page, act=people.change_person),
        PageAt(
            path="/subscriptions",
            show=subscriptions.subscriptions,
            act=subscriptions.turn_several_off,
        ),
        PageAt(path="/instalments", show=subscriptions.instalments),
        PageAt(path="/subscriptions/{subscription_id}", show=subscriptions.subscription_page),
        PageAt(path="/subscriptions/{subscription_id}/history", show=subscriptions.subscription_history),
        PageAt(
            path="/subscriptions/{subscription_id}/auto-renew",
            show=subscriptions.auto_renew_page,
            act=subscriptions.turn_off,
        ),
        PageAt(
            path="/subscriptions/{subscription_id}/seats",
            show=subscriptions.more_seats_page,
            act=subscriptions.ask_seats,
        ),
        PageAt(
            path="/subscriptions/{subscription_id}/refund",
            show=subscriptions.refund_page,
            act=subscriptions.ask_refund,
        ),
        PageAt(path="/seats", show=seats.pools),
        PageAt(path="/seats/{subscription_id}", show=seats.pool_page, act=seats.take_several),
        PageAt(path="/seats/{subscription_id}/history", show=seats.pool_history),
        PageAt(path="/seats/{subscription_id}/assign", show=seats.assign_page, act=seats.assign),
        PageAt(path="/seats/{subscription_id}/file", show=seats.file_page, act=seats.assign_file),
        PageAt(
            path="/seats/{subscription_id}/holders/{account_id}",
            show=seats.seat_page,
            act=seats.change_seat,
        ),
        PageAt(path="/credits", show=credits.all_credits),
        PageAt(path="/credits/{contract_id}", show=credits.credits_page),
        PageAt(path="/credits/{contract_id}/spend", show=credits.spend_page, act=credits.spend),
        PageAt(path="/own", show=credits.own_page),
        PageAt(path="/partners", show=partners.partners, act=partners.change_partner),
        PageAt(path="/sessions", show=sessions.sessions, act=sessions.end_session),
    ),
    links=(
        Link(path="/contracts", text=marked("Contracts"), kinds=CUSTOMER),
        Link(path="/subscriptions", text=marked("Subscriptions"), kinds=CUSTOMER),
        Link(path="/seats", text=marked("Seats"), kinds=CUSTOMER),
        Link(path="/credits", text=marked("Credits"), kinds=CUSTOMER),
        Link(path="/people", text=marked("People"), kinds=EVERYONE),
    ),
    watches=(
        Watch(find=contracts.requests_waiting, kinds=CUSTOMER),
        Watch(find=watches.own_seats, kinds=CUSTOMER),
        Watch(find=watches.first_partner, kinds=CUSTOMER, administrators=True),
        Watch(find=watches.terms_ending, kinds=CUSTOMER, administrators=True),
        Watch(find=watches.instalments_due, kinds=CUSTOMER, administrators=True),
        Watch(find=watches.pools_full, kinds=CUSTOMER, administrators=True),
        Watch(find=watches.seats_asked_for, kinds=CUSTOMER, administrators=True),
    ),
)
