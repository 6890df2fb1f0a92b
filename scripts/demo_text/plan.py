"""Decides what happens in the sixty days: who asks what and when, and what the assistant answers."""

import hashlib
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from demo_text import wording
from demo_text.reader import Block, FollowUp, Question, blocks, follow_ups, planted

SEED = 20260101
REFERENCE = datetime(2026, 1, 1, tzinfo=UTC)
"""The end of the last of the sixty days. A loader shifts all times so that this lies just before now."""
DAYS = 60
CONFUSIONS_FROM = 38
"""Day on which the planted confusions first appear; everything of incumbent v1 is older."""
DRIFT_FROM = 46
"""Day from which they rise: the last two weeks."""
_EARLY_SHARE = 0.76

RELEASES = (
    (0, "2025.10", "demo-chat-1.2", "v0.8"),
    (24, "2025.11", "demo-chat-1.3", "v0.9"),
    (44, "2025.12", "demo-chat-1.3", "v1"),
)


@dataclass
class Turn:
    """One question and its answer: one trace."""

    trace_id: str
    conversation: str
    user: str
    at: datetime
    language: str
    text: str
    answer: str
    quality: str
    """good, weak, wrong, invented, stale, wrong_language, pii, injection, missing, handed_over or broken."""
    team: str
    """The right team."""
    label: str
    """What the assistant's triage said."""
    intent: str
    channel: str
    documents: list[tuple[str, float, str]] = field(default_factory=list)
    """Retrieved entries: key, score in [0, 1], content."""
    tool: str | None = None
    """Key into wording.TOOLS."""
    question: Question | None = None
    """None for a short follow-up."""
    history: list[tuple[str, str]] = field(default_factory=list)
    followed_by: str | None = None
    """Kind of the next turn, when it says something about this answer."""

    @property
    def day(self) -> int:
        return DAYS - 1 - (REFERENCE - timedelta(seconds=1) - self.at).days


def ident(*parts: object, length: int = 32) -> str:
    """A stable hexadecimal id."""
    return hashlib.sha256("/".join(str(part) for part in (SEED, *parts)).encode()).hexdigest()[:length]


class Planner:
    """Makes all turns from the authored text and one seed."""

    def __init__(self) -> None:
        self.random = random.Random(SEED)
        self.blocks = blocks()
        self.by_key: dict[str, Block] = {b.key: b for b in self.blocks if b.entry is not None and b.key}
        self.unanswered = {b.intent: b for b in self.blocks if b.entry is None}
        self.follow_ups = follow_ups()
        self.turns: list[Turn] = []
        self.users = {
            language: [f"u-{ident('user', language, n, length=8)}" for n in range(count)]
            for language, count in (("en", 96), ("es", 44), ("vi", 30))
        }

    def plan(self) -> list[Turn]:
        """All turns, oldest first."""
        waiting = self._scheduled()
        while waiting:
            day, question = waiting.pop(0)
            session = [question]
            if self.random.random() < 0.16:
                mate = next((w for w in waiting if w[1].language == question.language and w[0] - day <= 1), None)
                if mate:
                    waiting.remove(mate)
                    session.append(mate[1])
            self._session(day, session)
        self.turns.sort(key=lambda turn: (turn.at, turn.trace_id))
        return self.turns

    def _scheduled(self) -> list[tuple[int, Question]]:
        plain = [q for b in self.blocks for q in b.questions if not q.confusion]
        late = [q for b in self.blocks for q in b.questions if q.confusion]
        days: list[tuple[int, Question]] = []
        for block in {q.intent: None for q in plain}:
            mine = [q for q in plain if q.intent == block]
            self.random.shuffle(mine)
            early = round(len(mine) * _EARLY_SHARE + self.random.uniform(-0.3, 0.3))
            for index, question in enumerate(mine):
                first, last = (0, CONFUSIONS_FROM) if index < early else (CONFUSIONS_FROM, DAYS)
                days.append((self.random.randrange(first, last), question))
        for question in late:
            rising = self.random.random() < 0.83
            days.append((self.random.randrange(*((DRIFT_FROM, DAYS) if rising else (CONFUSIONS_FROM, DRIFT_FROM))), question))
        days.extend((self.random.randrange(12, DAYS - 1), question) for question in planted())
        order = {id(question): self.random.random() for _, question in days}
        return sorted(days, key=lambda pair: (pair[0], order[id(pair[1])]))

    def _session(self, day: int, questions: list[Question]) -> None:
        language = questions[0].language
        conversation = ident("conversation", questions[0].text)
        user = self.random.choice(self.users[language])
        channel = self.random.choices(("app", "web", "phone_bot"), (62, 30, 8))[0]
        start = REFERENCE - timedelta(days=DAYS - day)
        hour = min(22.9, max(6.0, self.random.gauss(14, 3.6)))
        clock = start + timedelta(hours=hour, seconds=self.random.uniform(0, 59))
        history: list[tuple[str, str]] = []
        for question in questions:
            turn = self._asked(question, conversation, user, channel, clock, history)
            history = self._add(turn, history)
            clock += timedelta(seconds=self.random.uniform(35, 170))
            for kind, text, answer in self._reactions(turn):
                clock += timedelta(seconds=self.random.uniform(15, 90))
                turn.followed_by = turn.followed_by or kind
                further = self._further(turn, kind, text, answer, clock, history)
                history = self._add(further, history)

    def _add(self, turn: Turn, history: list[tuple[str, str]]) -> list[tuple[str, str]]:
        self.turns.append(turn)
        return [*history, (turn.text, turn.answer)]

    def _asked(
        self, question: Question, conversation: str, user: str, channel: str, at: datetime, history: list[tuple[str, str]]
    ) -> Turn:
        quality, answer = self._answer(question)
        label = self._label(question)
        turn = Turn(
            ident("trace", question.text), conversation, user, at, question.language, question.text, answer, quality,
            question.team, label, question.intent, channel, self._documents(question, quality), question=question,
            history=list(history),
        )  # fmt: skip
        if question.key in wording.TOOLS and quality == "good":
            turn.tool = question.key
        return turn

    def _answer(self, question: Question) -> tuple[str, str]:
        draw = self.random.random()
        language = question.language
        if question.flag:
            return question.flag, question.answer or ""
        if question.answer:
            return "invented", question.answer
        if draw < 0.012:
            return "broken", wording.BROKEN[language]
        if question.confusion:
            if draw < 0.1:
                return "handed_over", wording.HAND_OVER[language]
            block = self.by_key[question.key] if question.key else self.unanswered[question.intent]
            quality = "missing" if question.intent == "flexpay2" else "wrong"
            return quality, self._dressed(block.answers, language, 0.15)
        block = self.by_key[question.key or ""]
        if question.key == "savings-rates" and "credited" not in question.text:
            return "stale", self._dressed(block.answers, language, 0.1)
        wrong = {"en": 0.09, "es": 0.16, "vi": 0.2}[language]
        if draw < wrong:
            others = [b for b in self.by_key.values() if b.team == question.team and b is not block and b.answers.get(language)]
            return "wrong", self._dressed(self.random.choice(others).answers, language, 0)
        foreign = {"en": 0.0, "es": 0.26, "vi": 0.36}[language]
        if draw < wrong + foreign:
            return "wrong_language", self._dressed({"en": block.answers["en"]}, "en", 1)
        if draw < wrong + foreign + 0.1:
            return "weak", self._dressed(block.answers, language, 0).split(". ")[0].rstrip(".") + "."
        return "good", self._dressed(block.answers, language, 0)

    def _dressed(self, answers: dict[str, list[str]], language: str, english: float) -> str:
        """One of the answers with an opener and a closer; in English with the given chance or when there is no other."""
        spoken = "en" if not answers.get(language) or self.random.random() < english else language
        core = self.random.choice(answers[spoken])
        return self.random.choice(wording.OPENERS[spoken]) + core + self.random.choice(wording.CLOSERS[spoken])

    def _label(self, question: Question) -> str:
        draw = self.random.random()
        if question.confusion:
            usual = {"chargeback_grace": "lending", "flexpay2": "cards", "pot_lock": "cards", "sim_swap": "digital"}
            return question.team if draw < 0.12 else usual[question.intent]
        miss = {"en": 0.06, "es": 0.14, "vi": 0.18}[question.language]
        return wording.NEIGHBOUR[question.team] if draw < miss else question.team

    def _documents(self, question: Question, quality: str) -> list[tuple[str, float, str]]:
        scope = {
            "chargeback_grace": ["loan-grace", "dispute-extension", "dispute-window"],
            "flexpay2": ["flexpay-day", "three-part-plan", "plan-limit"],
            "pot_lock": ["savings-goal-pot", "pot-lock", "app-login"],
            "sim_swap": ["app-new-device", "fraud-sim-swap", "app-login"],
        }
        team = [b.key or "" for b in self.by_key.values() if b.team == question.team and b.key != question.key]
        others = self.random.sample(team, 2)
        if question.confusion:
            keys = scope[question.intent][: 2 + (self.random.random() < 0.5)]
            top = self.random.uniform(0.47, 0.66)
        elif question.key is None:
            keys, top = others, self.random.uniform(0.3, 0.43)
        else:
            keys, top = [question.key, *others[: 1 + (self.random.random() < 0.5)]], self.random.uniform(0.55, 0.84)
            top -= {"en": 0.0, "es": 0.13, "vi": 0.2}[question.language]
        found = []
        for key in keys:
            entry = self.by_key[key].entry or {}
            content = entry["text"] + (wording.INJECTION if quality == "injection" and key == question.key else "")
            found.append((key, round(top, 4), content))
            top -= self.random.uniform(0.03, 0.12)
        return found

    def _reactions(self, turn: Turn) -> list[tuple[str, str, str]]:
        """What the customer says next: (kind, text, answer)."""
        draw = self.random.random() * {"en": 0.7, "es": 1.9, "vi": 2.6}[turn.language]
        if turn.quality in ("good", "weak"):
            own = self.by_key[turn.question.key].further.get(turn.language, []) if turn.question and turn.question.key else []
            if own and draw < 0.5:
                text, answer = own.pop()
                return [("detail", text, answer)]
            if draw < 0.1:
                return [self._short("thanks", turn)]
            return [self._short("detail", turn)] if draw < 0.15 else []
        if turn.quality in ("handed_over", "broken", "pii", "injection"):
            return []
        if draw < 0.26:
            again = self._short("again", turn)
            return [again, self._short("human", turn)] if draw < 0.1 else [again]
        return []

    def _short(self, kind: str, turn: Turn) -> tuple[str, str, str]:
        pool: list[FollowUp] = [f for f in self.follow_ups if f.kind == kind and f.language == turn.language]
        pick = self.random.choice(pool)
        return kind, pick.text, pick.answer or wording.AGAIN[turn.language] + turn.answer

    def _further(
        self, first: Turn, kind: str, text: str, answer: str, at: datetime, history: list[tuple[str, str]]
    ) -> Turn:  # fmt: skip
        quality = {"again": first.quality, "human": "handed_over"}.get(kind, "good")
        english = first.language != "en" and answer.isascii() and any(w in answer.split() for w in ("the", "The", "You", "is"))
        return Turn(
            ident("further", first.trace_id, kind, text), first.conversation, first.user, at, first.language, text, answer,
            "wrong_language" if english and quality == "good" else quality, first.team, first.label,
            first.intent if kind in ("again", "detail") else kind, first.channel,
            list(first.documents) if kind in ("again", "detail") else [], history=list(history),
        )  # fmt: skip
