"""Sign-up by another provider: from the form to the session, with a real provider and a real identity."""

from pathlib import Path

import pytest

from tests.console.elsewhere import BY, LOST, MINA, World, signed_in
from tests.console.fakes import Browser, Services, hidden, words
from tests.services.issuer import verified

pytestmark = pytest.mark.system

FORM = {"name": "Mina Okafor", "country": "DE", "organisation": "Northhaus", "kind": "customer", "sandbox": "on"}


async def test_who_signs_up_by_a_provider_enters_no_password_and_is_signed_in(world: World) -> None:
    world.provider.person = MINA
    browser = world.browser()
    assert f'form="sign-up" formaction="/sign-up{BY}"' in (await browser.get("/sign-up")).text
    asked = await browser.send(f"/sign-up{BY}", "/sign-up", name="Mina Okafor", password="never sent on")
    text = words(asked.text)
    assert asked.status_code == 200 and "Fill in this field" not in text and 'value="Mina Okafor"' in asked.text
    assert "never sent on" not in asked.text and 'type="password"' not in asked.text
    back = await world.approved(await browser.post(f"/sign-up{BY}", None, **hidden(asked.text), **FORM))
    answer = await browser.get(back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/check-mail")
    assert (await browser.get("/check-mail")).headers["location"] == "/", "the provider has confirmed the address"
    shown = await browser.get("/profile")
    assert "mina@x.example" in shown.text and "tenure-oidc" not in browser.client.cookies
    assert (await world.sign_in(world.browser())).status_code == 303, "from now on it signs in"
    data = await world.bench.pool.fetchval("select data::text from log.events where type = 'AccountOpened'")
    assert '"country":"DE"' in data and '"sandbox":true' in data


async def test_a_form_that_is_filled_in_already_leads_on_at_once(world: World) -> None:
    world.provider.person = MINA
    answer = await world.browser().send(f"/sign-up{BY}", "/sign-up", **FORM)
    assert answer.headers["refresh"].startswith(f"0; url={world.provider.url}")


async def test_what_is_missing_is_said_beside_its_field(world: World) -> None:
    answer = await world.browser().send(f"/sign-up{BY}", **{**FORM, "country": "", "kind": "bank"})
    assert answer.status_code == 422 and answer.text.count('class="error"') == 2 and world.provider.asked == []


async def test_an_invited_person_joins_by_a_provider(world: World) -> None:
    world.provider.person = MINA
    _, manager = await world.bench.join("ana")
    invitation = await world.bench.invite(manager, "mina")
    browser = world.browser()
    assert f'formaction="/join{BY}"' in (await browser.get("/join")).text
    entered = {"invitation": f"https://x.example/join#{invitation}", "name": "Mina Okafor", "country": "DE"}
    asked = await browser.send(f"/join{BY}", "/join", invitation=entered["invitation"])
    assert asked.status_code == 200 and invitation in asked.text and "organization" not in asked.text
    assert hidden(asked.text)["invitation"] == entered["invitation"], "brought along, and not shown"
    back = await world.approved(await browser.post(f"/join{BY}", None, **{**hidden(asked.text), **entered}))
    answer = await browser.get(back)
    assert answer.headers["location"] == "/check-mail", words(answer.text)
    assert "Northhaus" in words((await browser.get("/")).text)


async def test_an_invitation_of_somebody_else_is_refused_in_the_form(world: World) -> None:
    world.provider.person = MINA
    _, manager = await world.bench.join("ana")
    invitation = await world.bench.invite(manager, "ben")
    browser = world.browser()
    entered = {"invitation": invitation, "name": "Mina Okafor", "country": "DE"}
    answer = await browser.get(await world.approved(await browser.send(f"/join{BY}", **entered)))
    assert answer.status_code == 422 and "is for another e-mail address" in words(answer.text)
    assert 'value="Mina Okafor"' in answer.text and invitation in answer.text and not signed_in(browser)
    assert f'action="/join{BY}"' in answer.text, "another try needs nothing entered again"


async def test_a_provider_that_vouches_for_nobody_leaves_the_address_to_the_form(world: World) -> None:
    world.configure("[]")
    browser = world.browser()
    missing = await browser.send(f"/sign-up{BY}", **FORM)
    assert missing.status_code == 422 and world.provider.asked == []
    back = await world.approved(await browser.send(f"/sign-up{BY}", **FORM, email="mina@x.example"))
    assert (await browser.get(back)).headers["location"] == "/check-mail"
    assert "mina@x.example" in words((await browser.get("/check-mail")).text), "which asks to confirm it"


async def test_an_address_that_the_provider_does_not_confirm_is_asked_for(world: World) -> None:
    """Its domains say that it could."""
    browser = world.browser()
    answer = await browser.get(await world.approved(await browser.send(f"/sign-up{BY}", **FORM)))
    assert answer.status_code == 422 and "Enter your e-mail address" in words(answer.text)
    entered = hidden(answer.text) | FORM | {"email": "mina@x.example"}
    back = await world.approved(await browser.post(f"/sign-up{BY}", None, **entered))
    assert (await browser.get(back)).status_code == 303


async def test_who_has_an_account_is_told_to_sign_in(world: World) -> None:
    world.provider.person = MINA
    await verified(world.bench, "mina")
    browser = world.browser()
    for text in ("There is an account with this address", "is linked to an account here already"):
        entered = {**FORM, "email": "" if "address" in text else "mina2@x.example"}
        answer = await browser.get(await world.approved(await browser.send(f"/sign-up{BY}", **entered)))
        assert answer.status_code == 422 and text in words(answer.text) and 'href="/sign-in"' in answer.text
        await world.sign_in(world.browser())  # links by the address


async def test_who_cancels_at_the_provider_gets_the_form_back(world: World) -> None:
    world.provider.answer = {"error": "access_denied", "code": ""}
    browser = world.browser()
    answer = await browser.get(await world.approved(await browser.send(f"/sign-up{BY}", **FORM)))
    assert "Northhaus did not let you in, or you cancelled there" in words(answer.text)
    assert 'value="Mina Okafor"' in answer.text and f'action="/sign-up{BY}"' in answer.text


async def test_an_answer_for_another_browser_opens_no_account(world: World) -> None:
    world.provider.person = MINA
    attacker, victim = world.browser(), world.browser()
    back = await world.approved(await attacker.send(f"/sign-up{BY}", **FORM))
    await world.approved(await victim.send(f"/sign-up{BY}", **FORM))
    assert LOST in words((await victim.get(back)).text)
    assert await world.bench.pool.fetchval("select count(*) from log.events where type = 'AccountOpened'") == 0


async def test_the_cookie_of_the_way_is_one_that_browsers_take(world: World) -> None:
    """They refuse one of more than 4096 bytes, and nothing would come back."""
    browser = world.browser()
    most = {**FORM, "name": "名" * 200, "organisation": "社" * 200, "email": f"{'m' * 60}@x.example"}
    leaving = await browser.send(f"/sign-up{BY}", **most)
    cookie = next(each for each in leaving.headers.get_list("set-cookie") if each.startswith("tenure-oidc="))
    assert 2400 < len(cookie) < 4096
    answer = await browser.send(f"/sign-up{BY}", **{**most, "proof": "x" * 1000})
    assert answer.status_code == 422 and "This is too long" in words(answer.text)


async def test_a_sign_up_by_a_provider_that_is_not_configured_is_not_there(tmp_path: Path) -> None:
    browser = Browser(Services(), tmp_path)
    for at in ("/sign-up", "/join"):
        assert (await browser.get(f"{at}{BY}")).status_code == 404
        assert (await browser.send(f"{at}{BY}", at)).status_code == 404
        assert "elsewhere" not in (await browser.get(at)).text


async def test_who_has_no_password_is_told_to_set_one_before_unlinking(world: World) -> None:
    world.provider.person = MINA
    browser = world.browser()
    await browser.get(await world.approved(await browser.send(f"/sign-up{BY}", **FORM)))
    answer = await browser.send("/profile/identities", unlink=world.provider.url)
    assert "Your account here has no password yet" in words(answer.text)
