"""The client of sign-in providers: authorization code flow with PKCE.

Source: OpenID Connect Core 1.0, section 3.1; RFC 7636 (PKCE); RFC 9207 (the issuer of an answer).
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import httpx

from services.console.cookies import Pending
from shared.runtime import providers
from shared.runtime.providers import Discovery, Provider, Unusable, read_answer, read_providers
from shared.runtime.settings import Settings

TOKEN_CHARACTERS: Final = 16_384
"""The longest ID token that identity reads."""


class NotGranted(Exception):
    """The provider gives no ID token for a code; the message is for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderClient:
    """The console at one provider."""

    name: str
    provider: Provider
    redirect_uri: str
    """Where the provider sends people back to, exactly as it is registered there."""
    http: httpx.AsyncClient
    discovery: Discovery
    secret: str = ""
    """What the console proves itself with; "" for a public client."""

    @property
    def label(self) -> str:
        return self.provider.label

    async def authorization_url(self, begun: Pending) -> str:
        """Return the address of the provider's page where the person signs in.

        Raises:
            Unusable: The provider does not say where, or does not know PKCE by SHA-256.
        """
        document = await self.discovery.document()
        methods = document.code_challenge_methods_supported
        if methods is not None and "S256" not in methods:
            raise Unusable(f"{self.provider.issuer}: it does not know PKCE by S256")
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.provider.scope,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge_of(begun.verifier),
            "code_challenge_method": "S256",
        }
        return str(httpx.URL(document.authorization_endpoint).copy_merge_params(query))

    async def has_sent(self, issuer: str | None) -> bool:
        """Return whether an answer with this `iss` is the provider's.

        One without it is, unless the provider announces to send it. Raises Unusable without the provider's document.
        """
        document = await self.discovery.document()
        if issuer is None:
            return not document.authorization_response_iss_parameter_supported
        return issuer == self.provider.issuer

    async def id_token(self, code: str, verifier: str) -> str:
        """Exchange a code for an ID token, which identity checks.

        Raises:
            NotGranted: The provider refuses the code.
            Unusable: The provider does not answer, or not as it should.
        """
        document = await self.discovery.document()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        methods = document.token_endpoint_auth_methods_supported
        if not self.secret:
            form["client_id"] = self.provider.client_id
        elif "client_secret_basic" in methods or "client_secret_post" not in methods:
            headers["Authorization"] = _basic(self.provider.client_id, self.secret)
        else:
            form |= {"client_id": self.provider.client_id, "client_secret": self.secret}
        request = self.http.build_request("POST", document.token_endpoint, data=form, headers=headers)
        status, answer = await read_answer(self.http, request)
        if 400 <= status < 500:
            raise NotGranted(f"{self.provider.issuer}: status {status}, {str(answer.get('error'))[:200]!r}")
        token = answer.get("id_token")
        if status != httpx.codes.OK or not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARACTERS:
            raise Unusable(f"{self.provider.issuer}: status {status}, and no ID token")
        return token


def challenge_of(verifier: str) -> str:
    """Return the PKCE challenge of a verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _basic(client_id: str, secret: str) -> str:
    """Return the client's credentials as a header. Source: RFC 6749, section 2.3.1."""
    credentials = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def clients(settings: Settings) -> Mapping[str, ProviderClient]:
    """Return the clients of the configured providers, by name.

    Raises:
        OSError: The file of the providers, or a secret's, can't be read.
        ValueError: The file is malformed, or a secret's is empty.
    """
    http = providers.client()
    return {
        name: ProviderClient(
            name=name,
            provider=provider,
            redirect_uri=f"{settings.public_url.rstrip('/')}/sign-in/oidc/{name}",
            http=http,
            discovery=Discovery(issuer=provider.issuer, client=http),
            secret=_secret(provider),
        )
        for name, provider in read_providers(settings.oidc_providers_file).items()
    }


def _secret(provider: Provider) -> str:
    if provider.client_secret_file is None:
        return ""
    secret = provider.client_secret_file.read_text().strip()
    if not secret:
        raise ValueError(f"{provider.client_secret_file} is empty")
    return secret
