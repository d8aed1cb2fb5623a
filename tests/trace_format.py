"""What the Trace Event Format asks of a trace, as far as viewers need it; and what keeps the ranks of a cell apart.

Source: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format)
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

Event = dict[str, Any]
KNOWN = set("BEXsftibenMCPNODSTFpRcvVaZ()")
"""Kinds of events."""
ROUNDING_US = 0.0015
"""Times are written in microseconds with three decimals: start + duration of two events differ by that much."""


def complaints(trace: dict[str, Any]) -> list[str]:
    """Why a viewer would leave something out of this trace or draw it wrongly; none of a sound one."""
    events = trace.get("traceEvents")
    if not isinstance(events, list) or not events:
        return ["no traceEvents"]
    whole = [event for event in events if not _incomplete(event)]
    found = [f"event {number}: {why}" for number, event in enumerate(events) if (why := _incomplete(event))]
    return [*found, *_unnamed(whole), *_overlapping(whole)]


def apart(traces: Sequence[dict[str, Any]]) -> list[str]:
    """Why the ranks of one cell could not be told from one another, were their files opened together."""
    ranks = [trace.get("distributedInfo", {}).get("rank") for trace in traces]
    found = [] if ranks == list(range(len(traces))) else [f"ranks are {ranks}"]
    processes = [pid for trace in traces for pid in {each["pid"] for each in trace["traceEvents"] if _numbered(each)}]
    return found if len(processes) == len(set(processes)) == len(traces) else [*found, f"processes are {processes}"]


def _incomplete(event: Event) -> str | None:
    if missing := {"ph", "ts", "pid", "tid", "name"} - event.keys():
        return f"has no {', '.join(sorted(missing))}"
    if event["ph"] not in KNOWN:
        return f"is of the unknown kind {event['ph']!r}"
    times = [event["ts"], *([event.get("dur")] if event["ph"] == "X" else [])]
    if not all(isinstance(each, int | float) and math.isfinite(each) and each >= 0 for each in times):
        return f"{event['name']} has the time {event['ts']} and duration {event.get('dur')}"
    return None


def _numbered(event: Event) -> bool:
    """Whether it is of a real process; others are rows of the profiler's own, whose ids are their names."""
    return isinstance(event["pid"], int)


def _unnamed(events: list[Event]) -> Iterator[str]:
    named = {(each["pid"], each["tid"]) for each in events if each["ph"] == "M" and each["name"] == "thread_name"}
    for place in dict.fromkeys((each["pid"], each["tid"]) for each in events if each["ph"] == "X" and _numbered(each)):
        if place not in named:
            yield f"thread {place} has no name"


def _overlapping(events: list[Event]) -> Iterator[str]:
    """Complete events of one thread that neither follow one another nor lie within one another."""
    threads: defaultdict[tuple[Any, Any], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append(event)
    for place, found in threads.items():
        around: list[Event] = []
        for event in sorted(found, key=lambda each: (each["ts"], -each["dur"])):
            while around and _end(around[-1]) <= event["ts"] + ROUNDING_US:
                around.pop()
            if around and _end(event) > _end(around[-1]) + ROUNDING_US:
                yield f"thread {place}: {event['name']} begins within {around[-1]['name']} and ends after it"
            around.append(event)


def _end(event: Event) -> float:
    return float(event["ts"] + event["dur"])
