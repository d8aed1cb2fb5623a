"""English strings and their French ones, as Unicode's locale data (CLDR) inside Babel write them: about 22 000 pairs.

Dates, times, spans of time, money, units, numbers, names of places, languages, scripts and currencies, and lists of
such names. The same calls are made in both languages; which dates, amounts and names they are given comes from a
generator with a fixed seed, so that one version of Babel always gives the same pairs.

Source: https://cldr.unicode.org, by way of https://babel.pocoo.org
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from babel import Locale

Render = Callable[["Locale"], str]
Item = TypeVar("Item")

DATES, MONEY, MEASURES, SPANS, LISTS, NUMBERS = 6000, 5500, 5500, 1200, 2400, 1000
"""strings asked for of each kind; some are the same in English, and are taken once"""
SKELETONS = ("yMMM", "yMMMd", "yMMMEd", "MMMd", "MMMEd", "MEd", "yMMMM", "MMMMd", "yQQQQ", "Ed", "GyMMMd")
MONTHS_FROM_2000 = 12 * 40


def pairs() -> dict[str, str]:
    """English → French, in a fixed order. What reads the same in English is taken once, the first time it comes."""
    from babel import Locale

    english, french = Locale("en"), Locale("fr")
    found: dict[str, str] = {}
    for render in (*_names(english, french), *_drawn(english, french)):
        source, target = render(english), render(french)
        if source and target:
            found.setdefault(source, target)
    return found


def _names(english: Locale, french: Locale) -> Iterator[Render]:
    """Every name that both languages have."""
    for table in ("territories", "languages", "scripts", "currencies", "variants"):
        for key in _shared(getattr(english, table), getattr(french, table)):
            yield partial(_name, table, key)
    for unit in _units(english, french):
        yield partial(_unit_name, unit)


def _drawn(english: Locale, french: Locale) -> Iterator[Render]:
    """Dates, money and the like, drawn from a generator with a fixed seed."""
    draw = Draw(random.Random(0))
    names = [
        (table, key)
        for table in ("territories", "languages")
        for key in _shared(getattr(english, table), getattr(french, table))
    ]
    currencies = _shared(english.currencies, french.currencies)
    makers: tuple[tuple[int, Callable[[], Render]], ...] = (
        (DATES, partial(_date, draw)),
        (MONEY, partial(_money, draw, currencies)),
        (MEASURES, partial(_measure, draw, _units(english, french))),
        (SPANS, partial(_span, draw)),
        (LISTS, partial(_list, draw, names)),
        (NUMBERS, partial(_number, draw)),
    )
    for count, make in makers:
        for _ in range(count):
            yield make()


class Draw:
    """Choices by `random()` alone: the only method whose values Python promises to keep in later versions."""

    def __init__(self, generator: random.Random):
        self._generator = generator

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit − 1."""
        return int(self._generator.random() * limit)

    def one(self, items: tuple[Item, ...] | list[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]

    def amount(self) -> float:
        """A number as people write them: few digits more often than many, half of them with decimals."""
        whole = self.below(10 ** (1 + self.below(5)))
        return whole if self.below(2) else whole + self.below(100) / 100


def _date(draw: Draw) -> Render:
    from babel import dates

    month, day, minute = draw.below(MONTHS_FROM_2000), 1 + draw.below(28), draw.below(24 * 60)
    moment = datetime.datetime(2000 + month // 12, 1 + month % 12, day, minute // 60, minute % 60)
    kind, style = draw.below(4), draw.one(("full", "long", "medium"))
    if kind == 0:
        skeleton = draw.one(SKELETONS)
        return lambda locale: dates.format_skeleton(skeleton, moment, locale=locale)
    if kind == 1:
        short: Literal["medium", "short"] = "medium" if style == "medium" else "short"  # others name a time zone
        return lambda locale: dates.format_datetime(moment, short, locale=locale)
    if kind == 2:
        end = moment.date() + datetime.timedelta(days=1 + draw.below(300))
        skeleton = draw.one(("yMMMd", "yMMMM", "yMMMEd"))
        return lambda locale: dates.format_interval(moment.date(), end, skeleton, locale=locale)
    return lambda locale: dates.format_date(moment.date(), style, locale=locale)


def _money(draw: Draw, currencies: list[str]) -> Render:
    from babel import numbers

    amount, code, kind = draw.amount(), draw.one(currencies), draw.below(4)
    if kind == 0:
        return lambda locale: numbers.format_currency(amount, code, locale=locale)
    if kind == 1:
        size = 10 ** draw.below(8)
        return lambda locale: numbers.format_compact_currency(amount * size, code, locale=locale)
    return lambda locale: numbers.format_currency(amount, code, locale=locale, format_type="name")


def _measure(draw: Draw, units: list[str]) -> Render:
    from babel.units import format_unit

    amount, unit = draw.amount(), draw.one(units)
    length: Literal["long", "short"] = "long" if draw.below(3) else "short"
    return lambda locale: format_unit(amount, unit, length, locale=locale)


def _span(draw: Draw) -> Render:
    from babel.dates import format_timedelta

    unit = draw.one((1, 60, 3600, 86_400, 604_800, 2_592_000, 31_536_000))
    seconds, direction = unit * (1 + draw.below(60)) * draw.one((1, -1)), draw.below(3) > 0
    return lambda locale: format_timedelta(
        datetime.timedelta(seconds=seconds), threshold=99, add_direction=direction, locale=locale
    )


def _list(draw: Draw, names: list[tuple[str, str]]) -> Render:
    from babel.lists import format_list

    chosen = [draw.one(names) for _ in range(2 + draw.below(2))]
    style: Literal["standard", "or"] = "or" if draw.below(2) else "standard"
    return lambda locale: format_list([_name(table, key, locale) for table, key in chosen], style, locale=locale)


def _number(draw: Draw) -> Render:
    from babel import numbers

    amount, kind = draw.amount(), draw.below(3)
    if kind == 0:
        return lambda locale: numbers.format_percent(amount / 100, locale=locale)
    if kind == 1:
        size = 10 ** draw.below(8)
        return lambda locale: numbers.format_compact_decimal(amount * size, format_type="long", locale=locale)
    larger = amount * (10_000 if amount == int(amount) else 100)
    return lambda locale: numbers.format_decimal(larger, locale=locale)


def _units(english: Locale, french: Locale) -> list[str]:
    """Units whose name both languages have."""
    both = _shared(english.unit_display_names, french.unit_display_names)
    return [unit for unit in both if _unit_name(unit, english) and _unit_name(unit, french)]


def _unit_name(unit: str, locale: Locale) -> str:
    from babel.units import get_unit_name

    return get_unit_name(unit, "long", locale=locale) or ""


def _name(table: str, key: str, locale: Locale) -> str:
    name: str = getattr(locale, table)[key]
    return name


def _shared(one: Any, other: Any) -> list[str]:
    """Keys that both tables have, in order."""
    return sorted(key for key in set(one) & set(other) if one[key] and other[key])
