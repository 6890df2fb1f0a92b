"""A running workbench and a browser, for tests that do what a person does."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright

from workbench.core.settings import REPOSITORY

BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
]
DOMAIN = "demo.bank.example"


def free_ports(count: int = 3) -> int:
    """The first of `count` neighbouring ports that are free at this moment."""
    # Ten apart, so that tests which run side by side and have not bound theirs yet do not choose the same ones.
    for start in range(21_000 + os.getpid() * 10 % 11_000, 60_000, 10):
        try:
            for port in range(start, start + count):
                with socket.socket() as tried:
                    tried.bind(("127.0.0.1", port))
        except OSError:
            continue
        return start
    raise RuntimeError("no free ports")


class RunningWorkbench:
    """`workbench up` in a process of its own, over a home of its own."""

    def __init__(self, home: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.home = home
        self.port = free_ports()
        self._arguments = arguments
        self._environment = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[str] | None = None
        self.log = home.parent / "up.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}"

    def start(self, seconds: float = 240.0) -> float:
        """Start it and wait until it says that everything is up; returns the seconds that took."""
        begun = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workbench", "up", "--home", str(self.home), "--port", str(self.port), "--no-browser",
                 *self._arguments],
                cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT, text=True, env=self._environment,
            )  # fmt: skip
        wait_for(lambda: "Everything is up" in self.log.read_text() or self.process.poll() is not None, seconds)  # type: ignore[union-attr]
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return time.monotonic() - begun

    def stop(self) -> None:
        """Ctrl-C, and wait until everything has stopped."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(120)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `workbench …` over the same home."""
        return subprocess.run(
            [sys.executable, "-m", "workbench", *arguments, "--home", str(self.home)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
            env={**self._environment, "WORKBENCH_PORT": str(self.port)}, check=False,
        )  # fmt: skip

    def health(self) -> dict[str, str]:
        try:
            return dict(httpx.get(f"{self.api}/v1/health", timeout=10).json())
        except (httpx.HTTPError, ValueError) as error:
            return {"api": type(error).__name__}


def wait_for(condition: Callable[[], object], seconds: float, *, every: float = 0.3, what: str = "the condition") -> None:
    """Wait until `condition()` is true.

    Raises:
        AssertionError: it was not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds:.0f} s"
        time.sleep(every)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium from WORKBENCH_CHROMIUM or the system."""
    path = os.environ.get("WORKBENCH_CHROMIUM") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """A demo person with a browser of their own."""

    def __init__(self, browser: Browser, url: str, name: str, pictures: Path, *, dark: bool = False) -> None:
        self.url = url
        self.email = f"{name}@{DOMAIN}"
        self._pictures = pictures
        self.context = browser.new_context(
            viewport={"width": 1400, "height": 900}, color_scheme="dark" if dark else "light", base_url=url
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)

    def sign_in(self) -> None:
        self.page.goto("/auth/sign-in")
        self.page.click(f'button[data-email="{self.email}"]')
        self.settled()

    def visit(self, path: str) -> None:
        self.page.goto(path)
        if "/auth/sign-in" in self.page.url:
            self.page.click(f'button[data-email="{self.email}"]')
        self.settled()

    def settled(self) -> None:
        """Wait until the page's script has run to its end and nothing is greyed out."""
        self.page.wait_for_selector('[data-testid="stAppViewContainer"]')
        self.page.wait_for_function(
            "() => !document.querySelector('[data-testid=stStatusWidget]') && "
            "!document.querySelector('[data-stale=true]') && !document.querySelector('[data-testid=stSkeleton]')"
        )

    def key(self, name: str) -> str:
        """CSS selector of the widget or container with this key."""
        return ".st-key-" + re.sub(r"[^a-zA-Z0-9_-]", "-", name)

    def click(self, key: str) -> None:
        """Click the button with this key."""
        self.page.locator(f"{self.key(key)} button").first.click()
        self.settled()

    def fill(self, key: str, text: str) -> None:
        """Type into the input with this key and leave it, so that Streamlit takes the text."""
        box = self.page.locator(f"{self.key(key)} input, {self.key(key)} textarea").first
        box.fill(text)
        box.press("Tab")
        self.settled()

    def choose(self, key: str, text: str) -> None:
        """Choose an option of the select box with this key."""
        self.page.locator(f'{self.key(key)} [data-baseweb="select"], {self.key(key)} input').first.click()
        self.page.get_by_role("option", name=text).first.click()
        self.settled()

    def sees(self, text: str, seconds: float = 30) -> None:
        """Wait until the page shows this text."""
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=seconds * 1000)

    def picture(self, name: str) -> None:
        """Save what the page shows."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        self.settled()
        self.page.wait_for_timeout(400)
        self.page.screenshot(path=str(self._pictures / f"{name}.png"))

    def has_no_failure(self) -> None:
        """The page shows no error box."""
        boxes = self.page.locator('[data-testid="stAlertContentError"]')
        assert boxes.count() == 0, boxes.all_inner_texts()
