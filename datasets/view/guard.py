"""Who may talk to the page's server: only the browser that was given the secret address, only from the page itself.

The server listens on the loopback interface, but every program and every web page open on this machine can reach that.
So each request must carry a random token (in the address of the page once, then in a cookie; or in a header, for
scripts), name this very server as its host (against DNS rebinding), and come from the page itself if it says where it
comes from (against other sites using the cookie). Changes must say so.
"""

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-localblur-token"
SAFE_METHODS = ("GET", "HEAD")

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Guard:
    """Refuses requests that the page did not make, and adds the security headers to every answer.

    Args:
        app: what is guarded.
        token: the secret.
        port: where the server listens.
        ticket: lets in once, by address, instead of the token: a browser's arguments can be seen by other users.
    """

    def __init__(self, app: ASGIApp, token: str, port: int, ticket: str | None = None) -> None:
        self._app, self._token, self._ticket = app, token, ticket
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self._cookie = f"localblur-{port}"  # cookies are shared by all ports of a host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"unexpected connection of type {scope['type']}")
        headers = Headers(scope=scope)
        by_address = scope["path"] == "/" and self._admits(_query_token(scope))
        refusal = self._refusal(scope["method"], headers, by_address)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(SECURITY_HEADERS)
                answer.setdefault("cache-control", "no-store")
                if by_address and refusal is None:
                    answer["set-cookie"] = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
            await send(message)

        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            status, text = refusal
            await PlainTextResponse(text + "\n", status)(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: Headers, by_address: bool) -> tuple[int, str] | None:
        if headers.getlist("host") not in [[host] for host in self._hosts]:
            return 421, "wrong host: use the address that view-dataset printed"
        origin = headers.get("origin")
        if origin is not None and origin not in [f"http://{host}" for host in self._hosts]:
            return 403, "requests from other pages are refused"
        by_header = self._is_token(headers.get(TOKEN_HEADER, ""))
        if not (by_address or by_header or self._is_token(_cookie_token(headers, self._cookie))):
            return 401, "the token is missing or wrong: use the address that view-dataset printed"
        if not (by_address or by_header) and headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            return 403, "requests from other pages are refused"
        if method not in SAFE_METHODS and origin is None and not by_header:
            return 403, "changes must say where they come from"
        return None

    def _admits(self, candidate: str) -> bool:
        if self._ticket is not None and _same(candidate, self._ticket):
            self._ticket = None
            return True
        return self._is_token(candidate)

    def _is_token(self, candidate: str) -> bool:
        return _same(candidate, self._token)


def _same(candidate: str, secret: str) -> bool:
    return hmac.compare_digest(candidate.encode("utf-8", "replace"), secret.encode())


def _query_token(scope: Scope) -> str:
    values = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
    return values[0] if len(values) == 1 else ""


def _cookie_token(headers: Headers, name: str) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""
