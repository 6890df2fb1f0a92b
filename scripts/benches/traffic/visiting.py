"""People browsing the traces page from machines of their own: the messages that their browsers would send and get.

A browser takes far more of a processor to draw a page than the web process takes to make it. Six of them on the machine that
is measured would measure themselves, so these people speak Streamlit's protocol and draw nothing; `browsing.py` has the one
who looks at it in Chromium.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from scripts.benches.traffic.browsing import Visit, wander

_PATIENCE = 20.0
_FINISHED = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)


def visit(port: int, people: list[tuple[str, str]], *, seconds: float) -> Visit:
    """Sign everybody in (e-mail, password), let all turn pages and open traces at the same time.

    Returns:
        Seconds from a click until the last message of what was asked for is here.
    """
    return asyncio.run(_all(port, people, seconds))


async def _all(port: int, people: list[tuple[str, str]], seconds: float) -> Visit:
    visit = Visit()
    tabs = [_Tab(port) for _ in people]
    for tab, person in zip(tabs, people, strict=True):
        await tab.sign_in(*person)
    until = time.monotonic() + seconds
    await asyncio.gather(
        *(
            wander([tab.turn_page, tab.turn_page, tab.open_first, tab.back], tab.begin_again, visit, until, number)
            for number, tab in enumerate(tabs)
        )
    )
    for tab in tabs:
        await tab.socket.close()
    return visit


@dataclass
class _Tab:
    """A browser's tab on the traces page, without the drawing."""

    port: int
    socket: Any = None
    page_hash: str = ""
    address: str = ""
    widgets: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Key of a widget → its id, and the fragment that it is part of."""
    rows: list[str] = field(default_factory=list)
    """The traces of the list that is shown."""
    _kept: dict[str, ForwardMsg] = field(default_factory=dict)
    """Messages that the server may send again by their hash alone."""

    async def sign_in(self, email: str, password: str) -> None:
        origin = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=origin, headers={"Origin": origin}) as client:
            form = {"email": email, "password": password, "next": "/traces"}
            answer = await client.post("/auth/sign-in", data=form)
            assert answer.status_code == 303, answer.text[:300]
            cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        self.socket = await websockets.connect(
            f"ws://127.0.0.1:{self.port}/_stcore/stream", subprotocols=["streamlit"],  # type: ignore[list-item]
            additional_headers={"Cookie": cookies, "Origin": origin}, max_size=1 << 26,
        )  # fmt: skip
        await self.begin_again()

    async def begin_again(self) -> None:
        """Open the list of all traces, as with a link."""
        message = BackMsg()
        message.rerun_script.query_string = self.address = "period=all"
        message.rerun_script.page_name = "traces"
        await self._ask(message, lambda: "trace_list" in self.widgets)

    async def turn_page(self) -> float:
        before = self.rows[:1]
        return await self._click("traces_next", lambda: self.rows[:1] != before)

    async def open_first(self) -> float:
        """Open the first trace of the list, as a click on its row does."""
        list_id, fragment = self.widgets["trace_list"]
        message = self._message(fragment)
        state = message.rerun_script.widget_states.widgets.add()
        state.id = f"$$STREAMLIT_INTERNAL_KEY_{list_id}__events"
        state.json_trigger_value = json.dumps([{"event": "open", "value": self.rows[0]}])
        return await self._ask(message, lambda: f"trace_view_{self.rows[0]}" in self.widgets)

    async def back(self) -> float:
        return await self._click("trace_back", lambda: "trace_list" in self.widgets)

    async def _click(self, key: str, shown: Callable[[], bool]) -> float:
        widget, fragment = self.widgets[key]
        message = self._message(fragment)
        state = message.rerun_script.widget_states.widgets.add()
        state.id, state.trigger_value = widget, True
        return await self._ask(message, shown)

    def _message(self, fragment: str) -> BackMsg:
        message = BackMsg()
        message.rerun_script.query_string = self.address
        message.rerun_script.page_script_hash = self.page_hash
        message.rerun_script.fragment_id = fragment
        return message

    async def _ask(self, message: BackMsg, shown: Callable[[], bool]) -> float:
        """Send, and take in what comes until a run has ended that shows what was asked for; returns the seconds.

        Raises:
            TimeoutError
        """
        message.rerun_script.context_info.timezone = "UTC"
        if not message.rerun_script.fragment_id:
            self.widgets.clear()
        begun = time.monotonic()
        async with asyncio.timeout(_PATIENCE):
            await self.socket.send(message.SerializeToString())
            while True:
                answer = ForwardMsg()
                answer.ParseFromString(await self.socket.recv())
                if answer.WhichOneof("type") == "ref_hash":
                    answer = self._kept[answer.ref_hash]
                elif answer.metadata.cacheable:
                    self._kept[answer.hash] = answer
                if self._take(answer) and shown():
                    return time.monotonic() - begun

    def _take(self, answer: ForwardMsg) -> bool:
        """What a message changes; returns whether a run has ended."""
        match answer.WhichOneof("type"):
            case "navigation":
                self.page_hash = answer.navigation.page_script_hash
            case "page_info_changed":
                self.address = answer.page_info_changed.query_string
            case "delta" if answer.delta.WhichOneof("type") == "new_element":
                element = answer.delta.new_element
                kind = element.WhichOneof("type")
                widget = getattr(getattr(element, kind), "id", "") if kind else ""
                if widget:
                    key = widget.rpartition("-")[2]
                    self.widgets[key] = (widget, answer.delta.fragment_id)
                    if key == "trace_list":
                        self.rows = [row["id"] for row in json.loads(element.bidi_component.json)["rows"]]
            case "script_finished":
                return answer.script_finished in _FINISHED
        return False
