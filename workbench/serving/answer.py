"""One path from question to answer, for the gateway, comparisons, replays and previews: retrieve, assemble, generate, guard."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.core.canonical import content_hash
from workbench.core.errors import IntegrityError, InvalidInput, Unavailable
from workbench.core.runtime_client import Generated, Prompt
from workbench.core.unit_of_work import Context
from workbench.knowledge.models import CorpusCommit
from workbench.knowledge.policy import policy_of
from workbench.prompts import queries as prompts
from workbench.prompts.assemble import Assembled, Passage, assemble, count_tokens
from workbench.prompts.content import DEFAULTS
from workbench.prompts.phrases import decline_sentence
from workbench.serving.configuration import ServingConfiguration
from workbench.serving.corpus_view import CorpusViews
from workbench.serving.injection import find_injection
from workbench.serving.personal_data import mask
from workbench.serving.ports import Runtime
from workbench.serving.result import Answer, Citation, Fired
from workbench.serving.retrieve import Retrieved, retrieve
from workbench.serving.spans import Span, answer_span, supporting_span
from workbench.serving.streaming import Masked
from workbench.serving.validators import cited_keys, failures, without_citations
from workbench.traces.languages import recognize

_BASE_CHECK_SECONDS = 30.0
_RANK_WEIGHT = 0.15
"""How much a sentence of a better passage is preferred, beside cosines."""
_SHORT_FOLLOW_UP = 4
"""A question of fewer words is searched together with the one before it."""


Question = str | Sequence[dict[str, Any]]
"""The question itself, or the messages of a conversation whose last user message is the question."""


@dataclass
class _Prepared:
    """A question with its evidence, before an answer is made."""

    question: str
    language: str | None
    passages: list[Retrieved]
    commit: CorpusCommit | None
    fired: list[Fired]
    started: float
    retrieved_ms: float
    assembled: Assembled | None = None
    shown: list[Retrieved] = field(default_factory=list)
    """The passages that reached the prompt."""


class AnswerService:
    """Answers questions by a serving configuration. Safe across threads; keeps corpus views between questions."""

    def __init__(self, context: Context, runtime: Runtime) -> None:
        self.context = context
        self.runtime = runtime
        self.views = CorpusViews(context)
        self._prompts: dict[tuple[str, str], dict[str, Any]] = {}
        self._base_checked: tuple[str, float] = ("", 0.0)

    def answer(self, configuration: ServingConfiguration, question: Question, *, max_new_tokens: int | None = None) -> Answer:
        """Answer one question.

        Args:
            max_new_tokens: a caller's lower limit than the prompt version's.

        Raises:
            InvalidInput: there is no question.
            Unavailable: the runtime does not answer, or has another base model loaded than the configuration names.
            IntegrityError: the prompt version or the corpus does not have its hash.
            NotFound: the configuration names a prompt version or commit that does not exist.
        """
        return self.answer_many(configuration, [question], background=False, max_new_tokens=max_new_tokens)[0]

    def answer_many(
        self,
        configuration: ServingConfiguration,
        questions: Sequence[Question],
        *,
        background: bool = True,
        max_new_tokens: int | None = None,
    ) -> list[Answer]:
        """Answer questions with one call to the model; `background` lets people who wait go first. Raises as `answer`."""
        content = self._prompt(configuration)
        prepared = [self._prepare(configuration, content, question) for question in questions]
        asked = [one for one in prepared if one.assembled is not None]
        started = time.perf_counter()
        written: list[Generated] = []
        if asked:
            self._check_base(configuration)
            written = self.runtime.generate(
                [_model_prompt(content, one, max_new_tokens) for one in asked],
                adapter=configuration.generator_adapter,
                background=background,
            )
        generate_ms = (time.perf_counter() - started) * 1000
        outputs = iter(written)
        return [
            self._finish(configuration, one, next(outputs) if one.assembled is not None else None, generate_ms)
            for one in prepared
        ]

    def stream(
        self, configuration: ServingConfiguration, question: Question, *, max_new_tokens: int | None = None
    ) -> Iterator[str | Answer]:
        """Pieces of the answer's text, and at the end the Answer. Raises as `answer`, before the first piece.

        Only where the guard policy's `on_failure` is `deliver` do pieces come while the model writes, personal data masked on
        the way. With `evidence` or `decline` nothing may leave before it is validated: the answer is made whole, then sent.
        """
        content = self._prompt(configuration)
        one = self._prepare(configuration, content, question)
        if one.assembled is None or configuration.guard.on_failure != "deliver":
            written = None
            started = time.perf_counter()
            if one.assembled is not None:
                self._check_base(configuration)
                written = self.runtime.generate(
                    [_model_prompt(content, one, max_new_tokens)], adapter=configuration.generator_adapter
                )[0]
            answer = self._finish(configuration, one, written, (time.perf_counter() - started) * 1000)
            yield from _words(answer.text)
            yield answer
            return
        self._check_base(configuration)
        started = time.perf_counter()
        evidence = _evidence_text(one.shown)
        masks = configuration.guard.mask_personal_data
        masked = Masked(lambda text, before: mask(text, evidence, before=before)[0] if masks else text)
        whole: Generated | None = None
        for piece in self.runtime.stream(_model_prompt(content, one, max_new_tokens), adapter=configuration.generator_adapter):
            if isinstance(piece, Generated):
                whole = piece
            elif ready := masked.add(piece):
                yield ready
        if rest := masked.finish().rstrip():
            yield rest
        if whole is None:
            raise Unavailable("The runtime stopped in the middle of the answer.", todo="Ask again.")
        yield self._finish(configuration, one, whole, (time.perf_counter() - started) * 1000)

    def watch(self, configuration: ServingConfiguration, question: Question, progress: Callable[[int], bool]) -> Answer | None:
        """Answer one question for somebody who may stop it. Raises as `answer`.

        Args:
            progress: called with the pieces of text written so far; false stops the model, and there is no answer.
        """
        content = self._prompt(configuration)
        one = self._prepare(configuration, content, question)
        if not progress(0):
            return None
        written: Generated | None = None
        started = time.perf_counter()
        if one.assembled is not None:
            self._check_base(configuration)
            pieces = self.runtime.stream(_model_prompt(content, one, None), adapter=configuration.generator_adapter)
            try:
                for count, piece in enumerate(pieces, start=1):
                    if isinstance(piece, Generated):
                        written = piece
                    elif not progress(count):
                        return None
            finally:
                if isinstance(pieces, Generator):
                    pieces.close()  # which cancels the rest
            if written is None:
                raise Unavailable("The runtime stopped in the middle of the answer.", todo="Ask again.")
        return self._finish(configuration, one, written, (time.perf_counter() - started) * 1000)

    def retrieve(self, configuration: ServingConfiguration, question: Question) -> tuple[list[Retrieved], CorpusCommit | None]:
        """All candidates for a question with their scores, evidence first, and the commit they are from."""
        text, searched = _question_of(question)
        return self._candidates(configuration, text, searched)

    def _candidates(
        self, configuration: ServingConfiguration, text: str, searched: str
    ) -> tuple[list[Retrieved], CorpusCommit | None]:
        with self.context.database.session() as session:
            view = self.views.at(session, configuration.project_id, configuration.tenant, configuration.corpus_commit)
            policy = policy_of(self.context, session, configuration.project_id, configuration.tenant)
        return retrieve(
            view,
            self.runtime,
            searched,
            minimum_score=configuration.routing.minimum_score,
            policy=policy,
            language=recognize(text),
        )

    def _prepare(self, configuration: ServingConfiguration, content: dict[str, Any] | None, question: Question) -> _Prepared:
        started = time.perf_counter()
        text, searched = _question_of(question)
        candidates, commit = self._candidates(configuration, text, searched)
        fired = []
        if pattern := find_injection(text):
            fired.append(Fired("injection_in_question", pattern, "marked"))
        kept: list[Retrieved] = []
        for candidate in candidates:
            if not candidate.is_evidence or len(kept) == max(1, configuration.routing.passages):
                break
            if pattern := find_injection(candidate.version.text):
                dropped = configuration.guard.drop_injected
                fired.append(
                    Fired("injection_in_evidence", f"{candidate.version.key}: {pattern}", "dropped" if dropped else "marked")
                )
                if dropped:
                    continue
            kept.append(candidate)
        one = _Prepared(text, recognize(text), kept, commit, fired, started, (time.perf_counter() - started) * 1000)
        refused = not kept and configuration.guard.decline_without_evidence
        if configuration.routing.mode == "generate" and not refused:
            if content is None:
                raise InvalidInput("The configuration names no prompt version.", todo="Create one, then name it by its hash.")
            one.assembled = assemble(content, text, [Passage(r.version.key, r.version.title, r.version.text) for r in kept])
            shown = {passage.key for passage in one.assembled.passages}
            one.shown = [r for r in kept if r.version.key in shown]
        return one

    def _finish(
        self, configuration: ServingConfiguration, one: _Prepared, written: Generated | None, generate_ms: float
    ) -> Answer:
        if written is not None and one.assembled is not None:
            answer = self._validated(configuration, one, written, one.assembled)
        elif one.passages:
            answer = self._by_evidence(configuration, one, one.fired)
        else:
            nothing = Fired("no_evidence", "No live entry is near enough to the question.", "decline")
            answer = _declining(one, [*one.fired, nothing])
        if written is None:
            answer = replace(answer, input_tokens=count_tokens(one.question), output_tokens=count_tokens(answer.text))
        timings = {
            "retrieve": one.retrieved_ms,
            "generate": generate_ms if written is not None else 0.0,
            "total": (time.perf_counter() - one.started) * 1000,
        }
        return replace(
            answer,
            passages=tuple(one.passages),
            corpus_commit=one.commit.id if one.commit else None,
            corpus_number=one.commit.number if one.commit else None,
            language=one.language,
            timings={name: round(value, 1) for name, value in timings.items()},
        )

    def _validated(
        self, configuration: ServingConfiguration, one: _Prepared, written: Generated, assembled: Assembled
    ) -> Answer:
        """The written answer when it keeps the guard policy, else what the policy puts in its place."""
        guard, raw = configuration.guard, written.text.strip()
        broken = failures(
            raw,
            policy=guard,
            retrieved=[r.version.key for r in one.shown],
            question_language=one.language,
            finished=written.finish_reason != "length",
        )
        action = "marked" if guard.on_failure == "deliver" else guard.on_failure
        fired = one.fired + [Fired(rule, detail, action) for rule, detail in broken]
        if not broken or guard.on_failure == "deliver":
            text, kinds = mask(raw, _evidence_text(one.shown)) if guard.mask_personal_data else (raw, [])
            fired += [Fired("personal_data", ", ".join(kinds), "masked")] if kinds else []
            answer = Answer(text, "generate", _citations(raw, one.shown), guard=tuple(fired))
        elif guard.on_failure == "evidence" and one.passages:
            answer = self._by_evidence(configuration, one, fired)
        else:
            answer = _declining(one, fired)
        return replace(
            answer,
            prompt=assembled.text,
            prompt_version=configuration.prompt_version,
            written=raw if answer.text != raw else "",
            input_tokens=written.input_tokens,
            output_tokens=written.output_tokens,
            finish_reason=written.finish_reason,
        )

    def _by_evidence(self, configuration: ServingConfiguration, one: _Prepared, fired: Sequence[Fired]) -> Answer:
        """The span of a passage that answers best, with its citation."""
        weighted = [(r.version, _RANK_WEIGHT * (len(one.passages) - rank)) for rank, r in enumerate(one.passages)]
        span = answer_span(self.runtime, one.question, weighted, configuration.guard.max_sentences or 2)
        return Answer(f"{span.text} [{span.version.key}]", "evidence", (_cite(span),), guard=tuple(fired))

    def _prompt(self, configuration: ServingConfiguration) -> dict[str, Any] | None:
        if configuration.routing.mode != "generate" or not configuration.prompt_version:
            return None
        key = (configuration.project_id, configuration.prompt_version)
        if key not in self._prompts:
            with self.context.database.session() as session:
                content = dict(prompts.by_hash(session, *key).content)
            if content_hash(content) != configuration.prompt_version:
                raise IntegrityError("The prompt version does not have its hash.", todo="Restore the database from a backup.")
            self._prompts[key] = content
        return self._prompts[key]

    def _check_base(self, configuration: ServingConfiguration) -> None:
        """A release names its base model by hash: an answer by another one would carry a false receipt."""
        checked, at = self._base_checked
        if checked == configuration.base_model and time.monotonic() - at < _BASE_CHECK_SECONDS:
            return
        base = self.runtime.health().get("base", {})
        loaded = base.get("hash")
        if base.get("state", "ready") == "ready" and loaded != configuration.base_model:
            raise Unavailable(
                "The runtime has another base model loaded than the release names.",
                why=f"Loaded: {str(loaded)[:19]}…, named: {configuration.base_model[:19]}….",
                todo="Start the workbench with the base model of the release, or release one for this base model.",
            )
        if loaded == configuration.base_model:
            self._base_checked = (configuration.base_model, time.monotonic())


def _model_prompt(content: dict[str, Any] | None, one: _Prepared, limit: int | None) -> Prompt:
    settings = {**DEFAULTS, **(content or {}).get("parameters", {})}
    return Prompt(
        one.assembled.text if one.assembled else "",
        max_new_tokens=min(settings["max_new_tokens"], limit or settings["max_new_tokens"]),
        temperature=settings["temperature"],
        top_p=settings["top_p"],
        stop=tuple(settings["stop"]),
    )


def _question_of(question: Question) -> tuple[str, str]:
    """The question, and the text to search with: a short follow-up is searched with the question before it."""
    if isinstance(question, str):
        asked = [question]
    else:
        asked = [str(m.get("content") or "") for m in question if m.get("role") == "user"]
    text = asked[-1].strip() if asked else ""
    if not text:
        raise InvalidInput("There is no question.", todo="Send a message with the role user and some text.")
    if len(asked) > 1 and len(text.split()) < _SHORT_FOLLOW_UP:
        return text, f"{asked[-2].strip()} {text}"
    return text, text


def _declining(one: _Prepared, fired: Sequence[Fired]) -> Answer:
    return Answer(decline_sentence(one.language), "decline", guard=tuple(fired))


def _evidence_text(passages: Sequence[Retrieved]) -> str:
    return "\n".join(f"{r.version.title}\n{r.version.text}" for r in passages)


def _citations(text: str, shown: Sequence[Retrieved]) -> tuple[Citation, ...]:
    by_key = {r.version.key: r.version for r in shown}
    statement = without_citations(text)
    return tuple(_cite(supporting_span(by_key[key], statement)) for key in cited_keys(text) if key in by_key)


def _cite(span: Span) -> Citation:
    version = span.version
    return Citation(version.entry_id, version.id, version.key, version.title, span.text, span.start, span.end)


def _words(text: str) -> Iterator[str]:
    """A finished text in pieces of a few words."""
    parts = text.split(" ")
    for start in range(0, len(parts), 4):
        piece = " ".join(parts[start : start + 4])
        yield piece if start + 4 >= len(parts) else piece + " "
