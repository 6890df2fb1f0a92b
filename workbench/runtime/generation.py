"""Text generation with the base model and its adapters, batched on one thread.

All requests go through one queue to one thread that owns the model. It decodes up to 32 prompts of the same adapter at once.
A person who waits goes first: between two tokens of a background batch the thread looks for such requests and answers them,
then goes on with the batch.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from workbench.core.errors import TooLarge, Unavailable
from workbench.runtime.adapters import AdapterPool
from workbench.runtime.devices import choose_device, load_causal
from workbench.runtime.sampling import TextBuffer, choose_token

MAX_BATCH = 32
"""Prompts decoded at once."""
MAX_BATCH_TOKENS = 16_384
"""Prompt tokens, padding included, that one batch reads at once; bounds memory."""
MAX_INPUT_TOKENS = 4_096
"""Longest prompt taken."""


@dataclass(frozen=True)
class Generation:
    """One answer."""

    text: str
    input_tokens: int
    output_tokens: int
    """Tokens generated, the end token not counted."""
    finish_reason: str
    """`stop`: the model ended or a stop text came; `length`: max_new_tokens reached; `cancelled`."""


@dataclass
class Request:
    """One prompt and how to answer it."""

    prompt: str
    adapter: str | None = None
    max_new_tokens: int = 128
    temperature: float = 0.0
    """0: always the most likely token."""
    top_p: float = 1.0
    stop: Sequence[str] = ()
    seed: int = 0
    """With temperature above 0 the answer depends on the seed, not on who else is in the batch."""
    background: bool = False
    """Whether requests that are not may go first."""
    on_text: Callable[[str], None] | None = None
    """Called on the model's thread with each new piece of text."""
    cancelled: bool = False
    future: "Future[Generation]" = field(default_factory=Future)
    tokens: list[int] = field(default_factory=list)
    """Prompt tokens; filled in by `Generator.submit`."""


class Generator:
    """A loaded base model that answers prompts. Safe to call from many threads."""

    def __init__(
        self,
        base_folder: Path,
        *,
        base_hash: str,
        locate: Callable[[str], Path],
        device: str = "auto",
        capacity: int = 4,
    ) -> None:
        """
        Args:
            base_folder: folder of safetensors with its tokenizer.
            base_hash: hash of its weights; adapters must be bound to it.
            locate: the checked folder of an adapter's content hash.
            capacity: adapters that stay in memory.
        """
        self.device = choose_device(device)
        self._model, self._tokenizer = load_causal(str(base_folder), self.device)
        ends = getattr(self._model.generation_config, "eos_token_id", None) or self._tokenizer.eos_token_id
        self._ends = frozenset(ends if isinstance(ends, list) else [ends]) | {self._tokenizer.eos_token_id}
        probe_tokens = torch.tensor([self._tokenizer("Answer: the fee is")["input_ids"]], device=self.device)
        self._pool = AdapterPool(
            self._model,
            kind="generator",
            base_hash=base_hash,
            locate=locate,
            probe=lambda model: model(input_ids=probe_tokens, logits_to_keep=1, use_cache=False).logits.float(),
            capacity=capacity,
        )
        self._waiting: dict[bool, deque[Request]] = {False: deque(), True: deque()}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="generator", daemon=True)
        self._thread.start()

    @property
    def resident(self) -> list[str]:
        """Content hashes of the adapters in memory."""
        return self._pool.resident

    def count_tokens(self, text: str) -> int:
        """Tokens of a prompt, its begin token included."""
        return len(self._tokenizer(text)["input_ids"])

    def submit(self, requests: Sequence[Request]) -> None:
        """Queue requests; each one's `future` gets its Generation.

        Raises:
            TooLarge: a prompt is longer than MAX_INPUT_TOKENS.
            Unavailable: the generator is closed.
        """
        encoded = self._tokenizer([request.prompt for request in requests])["input_ids"] if requests else []
        for request, tokens in zip(requests, encoded, strict=True):
            if len(tokens) > MAX_INPUT_TOKENS:
                raise TooLarge(
                    f"The prompt has {len(tokens)} tokens; at most {MAX_INPUT_TOKENS} can be read.",
                    todo="Shorten the question or retrieve fewer documents.",
                )
            request.tokens = tokens or [self._tokenizer.eos_token_id]
        with self._changed:
            if self._closed:
                raise Unavailable("The generator is shutting down.")
            for request in requests:
                self._waiting[request.background].append(request)
            self._changed.notify()

    def generate(
        self,
        prompts: Sequence[str],
        *,
        adapter: str | None = None,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
        seed: int = 0,
        background: bool = False,
    ) -> list[Generation]:
        """Answers to the prompts, in their order."""
        requests = [
            Request(prompt, adapter, max_new_tokens, temperature, top_p, tuple(stop), seed, background) for prompt in prompts
        ]
        self.submit(requests)
        return [request.future.result() for request in requests]

    def stream(
        self,
        prompt: str,
        *,
        adapter: str | None = None,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> Iterator[str]:
        """Pieces of the answer's text as they come. A consumer that stops reading cancels the rest and holds nobody up."""
        pieces: SimpleQueue[str | None] = SimpleQueue()
        request = Request(prompt, adapter, max_new_tokens, temperature, top_p, tuple(stop), seed, on_text=pieces.put)
        request.future.add_done_callback(lambda _future: pieces.put(None))
        self.submit([request])
        try:
            while (piece := pieces.get()) is not None:
                yield piece
            request.future.result()
        finally:
            request.cancelled = True

    def close(self) -> None:
        """Cancel what waits and runs, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=30)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not (self._waiting[False] or self._waiting[True]):
                    self._changed.wait()
                if self._closed:
                    for lane in self._waiting.values():
                        while lane:
                            lane.popleft().future.set_exception(Unavailable("The generator was shut down."))
                    return
                batch = self._take(background=not self._waiting[False])
            self._answer(batch)

    def _take(self, *, background: bool) -> list[Request]:
        """The oldest request of a lane and others of its adapter, as many as fit one batch; shortest first."""
        lane = self._waiting[background]
        first = lane[0]
        alike = sorted((r for r in lane if r.adapter == first.adapter and r is not first), key=lambda r: len(r.tokens))
        batch, longest = [first], len(first.tokens)
        for request in alike:
            longest = max(longest, len(request.tokens))
            if len(batch) == MAX_BATCH or longest * (len(batch) + 1) > MAX_BATCH_TOKENS:
                break
            batch.append(request)
        taken = {id(request) for request in batch}
        self._waiting[background] = deque(request for request in lane if id(request) not in taken)
        return batch

    def _answer(self, batch: list[Request]) -> None:
        try:
            self._pool.activate(batch[0].adapter)
            with torch.inference_mode():
                self._decode(batch)
        except Exception as error:
            for request in batch:
                if not request.future.done():
                    request.future.set_exception(error)

    def _let_others_pass(self, batch: list[Request]) -> None:
        if not batch[0].background:
            return
        while True:
            with self._changed:
                if self._closed or not self._waiting[False]:
                    break
                urgent = self._take(background=False)
            self._answer(urgent)
        self._pool.activate(batch[0].adapter)

    def _decode(self, batch: list[Request]) -> None:
        from transformers import DynamicCache

        rows = [_Row(request, self._tokenizer, self._ends) for request in batch]
        longest = max(len(row.request.tokens) for row in rows)
        pad = self._tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(r.tokens)) + r.tokens for r in batch], device=self.device)
        mask = torch.tensor([[0] * (longest - len(r.tokens)) + [1] * len(r.tokens) for r in batch], device=self.device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._model.config)
        while True:
            outputs = self._pool.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = outputs.logits[:, -1, :].float()
            kept = [index for index, row in enumerate(rows) if row.advance(logits[index], closed=self._closed)]
            if not kept:
                return
            if len(kept) < len(rows):
                chosen = torch.tensor(kept, device=self.device)
                cache.batch_select_indices(chosen)
                mask, positions = mask[chosen], positions[chosen]
                rows = [rows[index] for index in kept]
            ids = torch.tensor([[row.token] for row in rows], device=self.device)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            positions = positions[:, -1:] + 1
            self._let_others_pass([row.request for row in rows])


class _Row:
    """One request while it is being decoded."""

    def __init__(self, request: Request, tokenizer: Any, ends: frozenset[int]) -> None:
        self.request = request
        self.token = 0
        self._ends = ends
        self._made = 0
        self._text = TextBuffer(tokenizer, request.stop)
        self._random = torch.Generator().manual_seed(request.seed)

    def advance(self, logits: torch.Tensor, *, closed: bool) -> bool:
        """Take the next token; returns whether the row goes on."""
        request = self.request
        if request.cancelled or closed:
            return self._finish("cancelled")
        if request.max_new_tokens < 1:
            return self._finish("length")
        self.token = choose_token(logits, request.temperature, request.top_p, self._random)
        if self.token in self._ends:
            return self._finish("stop")
        self._made += 1
        piece = self._text.add(self.token)
        if piece and request.on_text:
            request.on_text(piece)
        if self._text.stopped:
            return self._finish("stop")
        return self._finish("length") if self._made >= request.max_new_tokens else True

    def _finish(self, reason: str) -> bool:
        rest = self._text.finish()
        if rest and self.request.on_text:
            self.request.on_text(rest)
        self.request.future.set_result(Generation(self._text.text, len(self.request.tokens), self._made, reason))
        return False
