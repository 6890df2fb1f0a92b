"""The sign-in page: plain HTML, since only an HTTP answer can set a cookie that scripts cannot read."""

import html
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from sqlmodel import select
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from workbench.bootstrap import Services
from workbench.core.errors import WorkbenchError
from workbench.identity.models import Person, RoleGrant
from workbench.ui.guard import COOKIE
from workbench.workflows.demo import DEMO_PASSWORD

_MAX_FORM_BYTES = 10_000


@cache
def _template() -> str:
    return (Path(__file__).parent / "sign_in.html").read_text(encoding="utf-8")


def sign_in_app(services: Services) -> Starlette:
    """Routes below `/auth`: the page, the form's target, and sign-out."""

    async def show(request: Request) -> Response:
        return await run_in_threadpool(_page, services, _safe_target(request.query_params.get("next")), "")

    async def sign_in(request: Request) -> Response:
        if not _same_origin(request):
            return HTMLResponse("Cross-site sign-in is refused.", status_code=403)
        if int(request.headers.get("content-length") or 0) > _MAX_FORM_BYTES:
            return HTMLResponse("The form is too large.", status_code=413)
        form = await request.form()
        target = _safe_target(str(form.get("next") or "/"))
        host = request.client.host if request.client else None
        try:
            opened = await run_in_threadpool(
                services.identity.sign_in, str(form.get("email") or ""), str(form.get("password") or ""), client_host=host
            )
        except WorkbenchError as error:
            return await run_in_threadpool(_page, services, target, str(error), error.status)
        response = RedirectResponse(target, status_code=303)
        response.set_cookie(
            COOKIE, opened.token, max_age=opened.seconds, httponly=True, samesite="lax", path="/",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return response

    async def sign_out(request: Request) -> Response:
        token = request.cookies.get(COOKIE)
        if token and _same_origin(request):
            await run_in_threadpool(services.identity.sign_out, token)
        response = RedirectResponse("/auth/sign-in", status_code=303)
        response.delete_cookie(COOKIE, path="/")
        return response

    return Starlette(
        routes=[
            Route("/sign-in", show, methods=["GET"]),
            Route("/sign-in", sign_in, methods=["POST"]),
            Route("/sign-out", sign_out, methods=["GET", "POST"]),
        ]
    )


def _page(services: Services, target: str, message: str, status: int = 200) -> HTMLResponse:
    with services.context.database.session() as session:
        demo = session.exec(select(Person).where(Person.is_demo, Person.active).order_by(Person.name)).all()
        roles: dict[str, list[str]] = {}
        for grant in session.exec(select(RoleGrant)):
            roles.setdefault(grant.person_id, []).append(grant.role)
    accounts = "".join(
        '<form method="post" action="/auth/sign-in">'
        f'<input type="hidden" name="next" value="{html.escape(target, quote=True)}">'
        f'<input type="hidden" name="email" value="{html.escape(person.email, quote=True)}">'
        f'<input type="hidden" name="password" value="{DEMO_PASSWORD}">'
        f'<button class="account" data-email="{html.escape(person.email, quote=True)}">'
        f"<strong>{html.escape(person.name)}</strong>"
        f"<span>{html.escape(', '.join(sorted(roles.get(person.id, []))) or 'no role')}</span></button></form>"
        for person in demo
    )
    body = (
        _template()
        .replace("{{message}}", f'<p class="error" role="alert">{html.escape(message)}</p>' if message else "")
        .replace("{{next}}", html.escape(target, quote=True))
        .replace("{{demo}}", f'<section><h2>Demo accounts</h2><div class="accounts">{accounts}</div></section>' if demo else "")
    )
    return HTMLResponse(body, status_code=status, headers={"Cache-Control": "no-store"})


def _safe_target(target: str | None) -> str:
    """A path on this host; anything else becomes the home page."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\", "/auth")):
        return "/"
    return target


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
