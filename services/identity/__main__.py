"""identity's process: `python -m services.identity`."""

import asyncio
from typing import Final

import httpx

from services import migrations_of
from services.identity.api import COMMANDS
from services.identity.domain.account import ACCOUNT
from services.identity.domain.clock import CLOCK
from services.identity.domain.contract import CONTRACT
from services.identity.domain.invitation import INVITATION
from services.identity.domain.machine import MACHINE
from services.identity.domain.sessions import SESSIONS
from services.identity.domain.webhook import WEBHOOK
from services.identity.everywhere import Everywhere
from services.identity.mail.letters import Letters
from services.identity.mail.sender import Sender, transport
from services.identity.notifications import words
from services.identity.notifications.reactions import NOTIFICATIONS, SUBJECTS
from services.identity.persons import Persons
from services.identity.projections import DIRECTORY, PARTNERS, PEOPLE
from services.identity.queries import QUERIES
from services.identity.reactions import REACTIONS
from services.identity.restored import private
from services.identity.signin import credentials, keys, oidc
from services.identity.signin.endings import OwnEndings
from services.identity.timers import TIMERS
from services.identity.webhooks import sender as webhooks
from services.identity.webhooks.addresses import networks_of
from services.identity.webhooks.delivery import Pace
from services.identity.webhooks.delivery import Parts as Deliveries
from services.identity.webhooks.routes import TOPICS
from shared.runtime.auth import TokenVerifier
from shared.runtime.live.topic import CATCH_UPS, LiveTopic
from shared.runtime.names import IdentityNameBook
from shared.runtime.service import Service, ServiceProcess, run


async def _with_keys(process: ServiceProcess) -> None:
    """Load the catalogues and the signing keys, with which tokens are checked directly."""
    words.prepare()
    loaded = await keys.load(process.parts.db, process.settings, process.parts.new_id())
    process.app.state.keys = loaded
    process.app.state.oidc = oidc.configured(process.settings)
    process.parts.name_book = IdentityNameBook("http://identity", httpx.ASGITransport(process.app))  # its own route
    process.app.state.everywhere = Everywhere.of(process.settings)
    process.metrics.watch(
        "tenure_argon2_queue", "Passwords being checked or waiting for it", lambda: credentials.HASHING.length
    )

    async def published() -> dict[str, list[dict[str, object]]]:
        return loaded.published()

    endings = OwnEndings(process.parts.db)
    await endings.refresh()
    process.parts.verifier = TokenVerifier(published, endings, issuer=process.settings.token_issuer)


async def _follow_keys(process: ServiceProcess) -> None:
    """Follow changes of the signing keys in the database until cancelled."""
    if process.settings.signing_key_file is None:
        await keys.follow(process.parts.db, process.app.state.keys)


async def _send_mail(process: ServiceProcess) -> None:
    """Send what is in the outbox until cancelled."""
    parts, settings = process.parts, process.settings
    letters = Letters(parts.db, parts.log, process.app.state.keys, settings.public_url)
    mails = process.metrics.count("tenure_mails", "Mails by kind and outcome", ("kind", "outcome"))
    sender = Sender(parts.db, parts.log, letters, transport(settings), settings.mail_from, mails)
    process.metrics.watch("tenure_mail_waiting", "Mails to be sent", lambda: sender.figures.waiting)
    process.metrics.watch("tenure_mail_parked", "Mails that can't be sent", lambda: sender.figures.parked)
    process.metrics.watch("tenure_mail_oldest_seconds", "How long the oldest waits", lambda: sender.figures.oldest_s)
    await sender.run()


async def _send_webhooks(process: ServiceProcess) -> None:
    """Send webhooks their events until cancelled."""
    parts, settings = process.parts, process.settings
    catch_ups = asyncio.Semaphore(CATCH_UPS)
    attempts = process.metrics.count("tenure_webhook_attempts", "Attempts to send an event, by outcome", ("outcome",))
    sender = webhooks.Sender(
        Deliveries(
            db=parts.db,
            log=parts.log,
            topics={topic: LiveTopic(topic, settings.kafka, catch_ups) for topic in TOPICS},
            allowed=networks_of(settings.webhook_networks),
            pace=Pace(park_after_s=settings.webhook_park_after_h * 3600),
            count=attempts,
        )
    )
    process.metrics.watch("tenure_webhooks_parked", "Webhooks that wait for a person", lambda: sender.parked)
    process.metrics.watch(
        "tenure_webhook_events_waiting", "Events that wait for webhooks", lambda: sender.figures.waiting
    )
    process.metrics.watch("tenure_webhook_oldest_seconds", "How long the oldest waits", lambda: sender.figures.oldest_s)
    await sender.run()


SERVICE: Final = Service(
    name="identity",
    migrations=migrations_of("identity"),
    streams=(ACCOUNT, INVITATION, CONTRACT, CLOCK, SESSIONS, MACHINE, WEBHOOK),
    commands=COMMANDS,
    queries=QUERIES,
    consumers=(DIRECTORY, PEOPLE, PARTNERS, SUBJECTS, REACTIONS, NOTIFICATIONS),
    timers=TIMERS,
    on_start=_with_keys,
    background=(_send_mail, _send_webhooks),
    in_each_process=(_follow_keys,),
    sealer=Persons,
    private=private,
    private_tables=(
        "person_keys",
        "credentials",
        "signing_keys",
        "outbox",
        "outbox_muted",
        "used_nonces",
        "sessions",
        "password_guesses",
        "password_guess_salt",
        "machine_secrets",
        "notifications",
        "notifications_muted",
        "bounced_addresses",
        "webhook_secrets",
        "webhook_progress",
        "webhook_queue",
    ),
)

if __name__ == "__main__":
    run(SERVICE)
