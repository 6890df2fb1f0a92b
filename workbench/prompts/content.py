"""What a prompt version says, checked before it is stored; and the one that a new project starts with."""

import re
from typing import Any

from workbench.core.errors import InvalidInput

SLOTS = ("system", "examples", "evidence", "question")
"""What a template may name in braces: {system} {examples} {evidence} {question}."""
SLOT = re.compile(r"\{(" + "|".join(SLOTS) + r")\}")

PARAMETERS: dict[str, tuple[type, float, float]] = {
    "max_new_tokens": (int, 1, 1024),
    "temperature": (float, 0.0, 2.0),
    "top_p": (float, 0.01, 1.0),
    "prompt_tokens": (int, 64, 3500),
}
"""Name → (type, least, greatest). `prompt_tokens` is the length that assembly keeps a prompt within."""

DEFAULTS: dict[str, Any] = {"max_new_tokens": 64, "temperature": 0.0, "top_p": 1.0, "prompt_tokens": 300, "stop": ["\n"]}

STARTER: dict[str, Any] = {
    "system": (
        "Answer the customer's question in at most two sentences, in the language of the question. Use only the evidence and "
        "end with its key in brackets. If the evidence does not answer it, say: I have no approved source for that."
    ),
    "template": "{system}\n\n{examples}Evidence:\n{evidence}\nQuestion: {question}\nAnswer:",
    "few_shot": [],
    "parameters": DEFAULTS,
}
"""A prompt that suits a small base model: plain lines, the answer last."""


def checked(content: dict[str, Any]) -> dict[str, Any]:
    """The content with every parameter present.

    Raises:
        InvalidInput: a part is missing, of the wrong type, or out of range.
    """
    unknown = sorted(set(content) - {"system", "template", "few_shot", "parameters"})
    if unknown:
        raise InvalidInput(f"A prompt has no part {', '.join(unknown)}.", todo="Use system, template, few_shot, parameters.")
    system, template = content.get("system", ""), content.get("template")
    if not isinstance(system, str) or not isinstance(template, str):
        raise InvalidInput("A prompt needs a system text and a template.")
    missing = [slot for slot in ("evidence", "question") if f"{{{slot}}}" not in template]
    if missing:
        raise InvalidInput(f"The template does not use {' and '.join(f'{{{slot}}}' for slot in missing)}.")
    if len(system) > 8_000 or len(template) > 8_000:
        raise InvalidInput("The system text and the template may have 8000 characters each.")
    few_shot = content.get("few_shot", [])
    if not isinstance(few_shot, list) or len(few_shot) > 16 or not all(map(_is_example, few_shot)):
        raise InvalidInput("Few-shot examples are at most 16 objects with question, evidence and answer as texts.")
    return {
        "system": system,
        "template": template,
        "few_shot": [{name: example[name] for name in ("question", "evidence", "answer")} for example in few_shot],
        "parameters": _checked_parameters(content.get("parameters", {})),
    }


def _checked_parameters(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InvalidInput("The parameters are not an object.")
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise InvalidInput(f"There is no parameter {', '.join(unknown)}.", todo="Use " + ", ".join(DEFAULTS) + ".")
    values = {**DEFAULTS, **given}
    for name, (kind, least, greatest) in PARAMETERS.items():
        value = values[name]
        right = isinstance(value, int) if kind is int else isinstance(value, int | float)
        if isinstance(value, bool) or not right or not least <= value <= greatest:
            raise InvalidInput(f"`{name}` must be a number from {least:g} to {greatest:g}.")
        values[name] = kind(value)
    stop = values["stop"]
    if not isinstance(stop, list) or len(stop) > 8 or not all(isinstance(s, str) and 0 < len(s) <= 100 for s in stop):
        raise InvalidInput("`stop` must be a list of up to 8 short texts.")
    return values


def _is_example(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("question", "evidence", "answer"))
