"""What an answer is worth: every check of a case, whether all hold, and the share that does.

A scorer compares words, not meaning. “Not free” contains “free”; a case guards against that with `must_not_state`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.evaluation.normalise import fold, normalise, states


@dataclass(frozen=True)
class Check:
    """One thing a case asks of an answer."""

    kind: str
    """label, answered, must_state, must_not_state, max_sentences, citation, decline."""
    expected: str
    """What was asked, as people read it."""
    ok: bool
    detail: str = ""
    """What was found instead."""


@dataclass(frozen=True)
class CaseScore:
    """The checks of one answer."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def score(self) -> float:
        """Share of the checks that hold; 0 when nothing was answered."""
        if not self.checks or any(check.kind == "answered" and not check.ok for check in self.checks):
            return 0.0
        return sum(check.ok for check in self.checks) / len(self.checks)

    def as_json(self) -> list[dict[str, Any]]:
        """Plain JSON, for the result's row."""
        return [asdict(check) for check in self.checks]


def score_triage(content: Mapping[str, Any], label: str) -> CaseScore:
    """Exact match of the label."""
    expected = str(content["label"])
    return CaseScore((Check("label", expected, label == expected, "" if label == expected else label),))


def score_answer(
    content: Mapping[str, Any], text: str, *, cited: Sequence[str] = (), declined: bool | None = None
) -> CaseScore:
    """Facts, forbidden statements and format of an answer.

    Args:
        content: of an answers case, see `golden.formats`.
        text: the answer as a person would read it.
        cited: keys of the knowledge entries it cites.
        declined: whether serving declined; None: told from the words.
    """
    spoken = normalise(text)
    form = content.get("format") or {}
    checks = [Check("answered", "an answer", bool(spoken), "" if spoken else "nothing")]
    for wordings in content.get("must_state") or []:
        ok = any(states(spoken, wording) for wording in wordings)
        checks.append(Check("must_state", " / ".join(wordings), ok, "" if ok else "not stated"))
    for wording in content.get("must_not_state") or []:
        broken = states(spoken, wording)
        checks.append(Check("must_not_state", wording, not broken, "stated" if broken else ""))
    if most := form.get("max_sentences"):
        count = sentences(text)
        checks.append(
            Check("max_sentences", f"at most {most} {'sentence' if most == 1 else 'sentences'}", count <= most, f"{count}")
        )
    if form.get("citation"):
        checks.append(_citation(content.get("evidence") or [], cited))
    if form.get("decline"):
        refused = declines(text) if declined is None else declined
        checks.append(Check("decline", "declines, for want of evidence", refused, "" if refused else "answered"))
    return CaseScore(tuple(checks))


def _citation(evidence: Sequence[str], cited: Sequence[str]) -> Check:
    expected = f"cites {' or '.join(evidence)}" if evidence else "cites a source"
    ok = bool(set(evidence) & set(cited)) if evidence else bool(cited)
    return Check("citation", expected, ok, "" if ok else (f"cites {', '.join(cited)}" if cited else "no citation"))


_MARKER = re.compile(r"\[[^\[\]\n]{1,120}\]")
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|etc|approx|no|nr|art|mr|mrs|ms|dr|sr|sra|p\. ?ej|ee\. ?uu|ud|uds|tp)\.(?=\s)", re.IGNORECASE
)
_END = re.compile(r"[.!?…。！？]+(?=[\s\"'”’»)]|$)|\n+")
_LIST_NUMBER = re.compile(r"(?m)^\s*(?:[-*•]|\d{1,2}[.)])\s+")


def sentences(text: str) -> int:
    """How many sentences a text has. Lines count as sentences; citations and list marks do not; 2.50 is no end."""
    plain = _LIST_NUMBER.sub("", _MARKER.sub(" ", text))
    plain = _ABBREVIATION.sub(lambda match: match.group(0).replace(".", ""), plain)
    return sum(bool(re.search(r"\w", part)) for part in _END.split(plain))


_DECLINE = re.compile(
    r"\b(?:i (?:do not|don't|dont|cannot|can't|cant|could not|am not able to)|we (?:do not|cannot)) "
    r"(?:\w+ ){0,3}?(?:know|have|find|answer|confirm|help|tell|say)"
    r"|\bno (?:\w+ ){0,2}(?:information|evidence|source|record)\b"
    r"|\bno (?:puedo|tengo|dispongo|encuentro|encontre|se|podemos|tenemos)\b"
    r"|\btoi (?:khong|chua) (?:\w+ ){0,3}?(?:biet|the|co|tim|tra loi)\b"
    r"|\bkhong (?:co|tim thay) (?:\w+ ){0,2}(?:thong tin|bang chung)\b"
)


def declines(text: str) -> bool:
    """Whether an answer says that it cannot answer, in English, Spanish or Vietnamese."""
    return bool(_DECLINE.search(fold(text).replace("’", "'")))
