"""Security headers on every answer, and the way to the sign-in page for those who are not signed in."""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.core.errors import NotSignedIn
from workbench.identity.service import actor_of_session
from workbench.ui.guard import COOKIE, services

# Streamlit's own bundle evaluates chart specifications and starts inline scripts; everything remote stays forbidden, so
# that text from outside can neither load an image nor send anything away.
_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' ws: wss: blob: data:",
        "frame-src 'self' blob: data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_OPEN_PREFIXES = ("/auth", "/_stcore", "/static", "/media", "/component", "/favicon", "/v1", "/app")


class SecurityHeaders:
    """ASGI middleware that adds the headers to every HTTP answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class SignInRedirect:
    """ASGI middleware that sends a browser without a session to the sign-in page, and back to its page afterwards.

    It is a courtesy: what protects pages is the check in `guard.visit` and the permission in each service.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks_for_page = scope["type"] == "http" and scope["method"] == "GET" and self._is_page(scope)
        if asks_for_page and not await run_in_threadpool(self._signed_in, scope):
            query = scope.get("query_string", b"").decode("latin-1")
            target = scope["path"] + (f"?{query}" if query else "")
            await RedirectResponse(f"/auth/sign-in?next={quote(target, safe='')}", status_code=303)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _is_page(scope: Scope) -> bool:
        path: str = scope["path"]
        return not path.startswith(_OPEN_PREFIXES) and "." not in path.rsplit("/", 1)[-1]

    @staticmethod
    def _signed_in(scope: Scope) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        for name, value in scope["headers"]:
            if name == b"cookie":
                try:
                    cookies.load(value.decode("latin-1"))
                except CookieError:
                    return False
        token = cookies[COOKIE].value if COOKIE in cookies else None
        try:
            with services().context.database.session() as session:
                actor_of_session(session, token)
        except NotSignedIn:
            return False
        return True
