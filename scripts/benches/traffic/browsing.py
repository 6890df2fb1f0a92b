"""People browsing the traces page in Chromium: how long the page takes to show what they asked for."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from playwright.async_api import Browser, Page, Playwright, async_playwright

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]

_ROWS = """() => {
  const look = (root) => {
    const rows = root.querySelectorAll("a.row");
    if (rows.length) return rows;
    for (const part of root.querySelectorAll("*")) {
      const found = part.shadowRoot && look(part.shadowRoot);
      if (found) return found;
    }
    return null;
  };
  const rows = look(document);
  return rows ? rows[0].dataset.id : "";
}"""


Act = Callable[[], Awaitable[Any]]


@dataclass
class Visit:
    """What people waited for."""

    waits: list[float] = field(default_factory=list)
    """Seconds from a click until the page shows what was asked for."""
    failed: int = 0
    """Interactions that showed nothing within twenty seconds."""


def browse(address: str, people: list[tuple[str, str]], *, seconds: float) -> Visit:
    """Sign everybody in (e-mail, password), let all turn pages, filter and open traces at the same time."""
    return asyncio.run(_all(address, people, seconds))


async def _all(address: str, people: list[tuple[str, str]], seconds: float) -> Visit:
    visit = Visit()
    async with async_playwright() as playwright:
        browser = await _launched(playwright)
        pages = [await _signed_in(browser, address, *person) for person in people]
        until = time.monotonic() + seconds
        acts = (_turn_page, _turn_page, _open_trace, _back)
        await asyncio.gather(
            *(
                wander([partial(act, page) for act in acts], partial(_begin_again, page), visit, until, number)
                for number, page in enumerate(pages)
            )
        )
        await browser.close()
    return visit


def open_found(address: str, person: tuple[str, str], words: str, times: int = 5) -> list[float]:
    """Seconds waited, each time, for the newest trace with these words: after a click on its row, and on its timeline."""
    return asyncio.run(_open_found(address, person, words, times))


async def _open_found(address: str, person: tuple[str, str], words: str, times: int) -> list[float]:
    waits = []
    async with async_playwright() as playwright:
        browser = await _launched(playwright)
        page = await _signed_in(browser, address, *person)
        for _ in range(times):
            await page.goto("/traces?" + urlencode({"period": "all", "q": words}))
            await page.locator(".st-key-traces_q input").and_(page.locator(f'[value="{words}"]')).wait_for()
            waited = 0.0
            for click, shown in (
                (page.locator("a.row").first, page.locator("#view .turn.current")),
                (page.locator(".st-key-trace_spans summary"), page.locator("#spans .bar").first),
            ):
                await page.wait_for_timeout(1000)  # a reader looks; meanwhile what was drawn comes to rest
                begun = time.monotonic()
                await click.click()
                await shown.wait_for()
                waited += time.monotonic() - begun
            waits.append(waited)
        await browser.close()
    return waits


async def _launched(playwright: Playwright) -> Browser:
    path = os.environ.get("WORKBENCH_CHROMIUM") or "/usr/bin/chromium"
    return await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)


async def _signed_in(browser: Browser, address: str, email: str, password: str) -> Page:
    page = await (await browser.new_context(base_url=address, viewport={"width": 1400, "height": 900})).new_page()
    page.set_default_timeout(20_000)
    await page.goto("/auth/sign-in?next=/traces")
    await page.fill('input[name="email"][type="email"]', email)
    await page.fill('input[name="password"][type="password"]', password)
    await page.click("button.primary")
    await _begin_again(page)
    return page


async def wander(acts: Sequence[Act], begin_again: Act, visit: Visit, until: float, number: int) -> None:
    """One of several people: act after act, with pauses, until the time is over.

    Args:
        acts: each returns the seconds that it took.
        begin_again: back to where the first act is possible, after one that showed nothing.
        until: on the machine's monotonic clock.
        number: of this person, whose pauses it makes.
    """
    chance = random.Random(number)
    await asyncio.sleep(number * 0.4)
    while time.monotonic() < until:
        for act in acts:
            try:
                visit.waits.append(await act())
            except Exception:  # a page that shows nothing is what is counted here
                visit.failed += 1
                await begin_again()
                break
            await asyncio.sleep(chance.uniform(1.0, 3.0))


async def _begin_again(page: Page) -> None:
    await page.goto("/traces?period=all")
    await page.locator("a.row").first.wait_for()


async def _turn_page(page: Page) -> float:
    before = await page.evaluate(_ROWS)
    begun = time.monotonic()
    await page.locator(".st-key-traces_next button").click()
    await page.wait_for_function(f"(before) => {{ const now = ({_ROWS})(); return now && now !== before; }}", arg=before)
    return time.monotonic() - begun


async def _open_trace(page: Page) -> float:
    row = page.locator("a.row").first
    begun = time.monotonic()
    await row.click()
    await page.locator(".st-key-trace_spans").wait_for()
    return time.monotonic() - begun


async def _back(page: Page) -> float:
    begun = time.monotonic()
    await page.locator(".st-key-trace_back button").click()
    await page.locator("a.row").first.wait_for()
    return time.monotonic() - begun
