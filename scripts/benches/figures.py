"""A benchmark's figures, and how they are printed."""

import os
import platform
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One measured number against its target."""

    name: str
    value: float
    unit: str
    target: float | None = None
    """None: told, not judged."""
    better: Literal["lower", "higher"] = "lower"

    @property
    def ok(self) -> bool:
        if self.target is None:
            return True
        return self.value <= self.target if self.better == "lower" else self.value >= self.target

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


def machine() -> str:
    """What this ran on, in words."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GB, Python {platform.python_version()}"


def table(figures: list[Figure]) -> str:
    """The figures as lines for people."""
    width = max(len(figure.name) for figure in figures)
    lines = []
    for figure in figures:
        sign = "" if figure.target is None else f"  target {'≤' if figure.better == 'lower' else '≥'} {figure.target:g}"
        verdict = "" if figure.target is None else ("  ok" if figure.ok else "  MISSED")
        lines.append(f"{figure.name:<{width}}  {figure.value:>10,.2f} {figure.unit}{sign}{verdict}")
    return "\n".join(lines)
