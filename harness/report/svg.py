"""SVG made clean: no style attribute, no ids, no empty groups, numbers to a tenth of a pixel, a title per mark.

What vl-convert draws is right but wordy; this leaves what is seen, in about a fifth of the bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby, pairwise
from xml.etree import ElementTree

from markupsafe import Markup

from harness.report.path_data import compact, short

SVG = "http://www.w3.org/2000/svg"
GROUP, TITLE, TEXT, PATH, CIRCLE, LINE, DEFS, USE = (
    f"{{{SVG}}}{name}" for name in ("g", "title", "text", "path", "circle", "line", "defs", "use")
)
LONG = 120
"""Bytes of a path from which it is worth a name."""
MARK = "\ue000"
"""Stands around the filter's classes in a description; private use, so that no text shown can hold it."""
DROPPED = {"class", "role", "pointer-events", "font-family", "stroke-miterlimit", "version", "width", "height"}
DEFAULTS = {
    *(("opacity", "1"), ("fill-opacity", "1"), ("stroke-opacity", "1"), ("stroke-width", "1"), ("font-size", "11px")),
    *(
        ("text-anchor", "start"),
        ("font-weight", "normal"),
        ("stroke-dasharray", "1,0"),
        ("transform", "translate(0,0)"),
    ),
}
INHERITED = (
    *("fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "stroke-dasharray"),
    *("fill-opacity", "text-anchor", "font-size"),
)
IMPLIED = {"text-anchor": "start"}
"""What an element has that does not say it: most of a group say something else, these few are told then."""
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
ROUND = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0$")
MOVED = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\)")
HUES = (("fill", "", re.compile(r"var\(--([kps]\d)\)")), ("stroke", "l", re.compile(r"var\(--(s\d)\)")))
"""Colours of marks that the stylesheet has classes for: `s1` fills, `ls1` draws the line."""


def description(classes: str, text: str) -> str:
    """Description of a mark as `clean` understands it: classes for the filter, text of its title."""
    return f"{MARK}{classes}{MARK}{text}"


def clean(svg: str, title: str, summary: str) -> Markup:
    """An SVG of vl-convert as it stands in the page. title, summary: ids of what names and describes it."""
    root = ElementTree.fromstring(svg)
    box = root.get("viewBox", "")
    _clean(root)
    _share(root, title)
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-labelledby": title, "aria-describedby": summary})
    ElementTree.register_namespace("", SVG)
    text = ElementTree.tostring(root, encoding="unicode")
    return Markup(text.replace(f' xmlns="{SVG}"', "").replace(" />", "/>"))


def _share(root: ElementTree.Element, name: str) -> None:
    """Draw once what several long paths draw alike: curves that lie on one another."""
    long = Counter(data for path in root.iter(PATH) if len(data := path.get("d", "")) > LONG)
    shared = {data: f"{name}-{at}" for at, data in enumerate(data for data, times in long.items() if times > 1)}
    for path in root.iter(PATH):
        if (data := path.get("d", "")) in shared:
            path.tag = USE
            del path.attrib["d"]
            path.set("href", f"#{shared[data]}")
    if shared:
        once = ElementTree.Element(DEFS)
        once.extend(ElementTree.Element(PATH, {"id": id_, "d": data}) for data, id_ in shared.items())
        root.insert(0, once)


def _clean(element: ElementTree.Element) -> None:
    label = element.get("aria-label", "")
    _clean_attributes(element)
    for child in list(element):
        _clean(child)
        if _draws_nothing(child):
            element.remove(child)
    _unwrap(element)
    _join(element)
    _hoist(element)
    if label.startswith(MARK):
        _, classes, text = label.split(MARK, 2)
        element.set("class", f"m {classes}".strip())
        if text:
            ElementTree.SubElement(element, TITLE).text = text
    if element.tag == GROUP:
        _gather(element)


def _gather(element: ElementTree.Element) -> None:
    """Put neighbouring marks of the same cell into a group that says whose they are, and name colours by classes."""
    children = list(element)
    element[:] = []
    for classes, run in groupby(children, key=lambda child: child.get("class")):
        marks = list(run)
        hues = [_hues(mark) for mark in marks] if classes is not None else []
        if classes is None or len(marks) == 1:
            element.extend(marks)
            if classes is not None:
                marks[0].set("class", " ".join([classes, *hues[0]]))
            continue
        alike = len(set(hues)) == 1
        group = ElementTree.SubElement(element, GROUP, {"class": " ".join([classes, *(hues[0] if alike else ())])})
        for mark, own in zip(marks, hues, strict=True):
            del mark.attrib["class"]
            if own and not alike:
                mark.set("class", " ".join(own))
        group.extend(marks)


def _hues(mark: ElementTree.Element) -> tuple[str, ...]:
    """Take a mark's colours off; they are returned as classes."""
    classes = []
    for name, kind, hue in HUES:
        if found := hue.fullmatch(mark.get(name, "")):
            del mark.attrib[name]
            classes.append(f"{kind}{found[1]}")
    return tuple(classes)


def _clean_attributes(element: ElementTree.Element) -> None:
    for name in list(element.attrib):
        if name in DROPPED or name.startswith("aria-"):
            del element.attrib[name]
    _stroke(element)
    _straighten(element)
    for name, value in list(element.attrib.items()):
        told = value if name in ("fill", "stroke") else NUMBER.sub(_short, value)
        element.attrib[name] = told
        if (name, told) in DEFAULTS:
            del element.attrib[name]
    _round(element)
    if element.tag in (TEXT, CIRCLE) and (moved := MOVED.fullmatch(element.get("transform", ""))):
        del element.attrib["transform"]
        at = ("cx", "cy") if element.tag == CIRCLE else ("x", "y")
        element.attrib.update(zip(at, moved.groups(), strict=True))


def _round(element: ElementTree.Element) -> None:
    """Make a circle of the path that Vega draws for one."""
    if element.tag == PATH and (drawn := ROUND.match(element.get("d", ""))):
        del element.attrib["d"]
        element.tag = CIRCLE
        element.set("r", drawn[1])


def _stroke(element: ElementTree.Element) -> None:
    """Make a path of a line: it takes half the bytes, and neighbours can be joined."""
    if element.tag == LINE:
        x, y = (element.attrib.pop(name, "0") for name in ("x2", "y2"))
        element.tag = PATH
        element.set("d", f"M0,0L{x},{y}" if "0" not in (x, y) else f"M0,0h{x}" if y == "0" else f"M0,0v{y}")


def _straighten(element: ElementTree.Element) -> None:
    """Write a path of straight lines in few bytes, where it was moved to."""
    if element.tag == PATH:
        moved = MOVED.fullmatch(element.get("transform", "translate(0,0)"))
        data = compact(element.get("d", ""), *map(float, moved.groups())) if moved else None
        if data:
            element.attrib.pop("transform", "")
            element.set("d", data)


def _join(element: ElementTree.Element) -> None:
    """Make one path of neighbours that look the same and are no marks: grid lines, hairlines between rows."""
    for one, other in reversed(list(pairwise(element))):
        alike = {**one.attrib, "d": ""} == {**other.attrib, "d": ""} and "class" not in one.attrib
        if one.tag == other.tag == PATH and alike and not len(one) and "transform" not in one.attrib:
            one.set("d", f"{one.get('d')}M{other.get('d', '')[1:]}")
            element.remove(other)


def _unwrap(element: ElementTree.Element) -> None:
    """Put the children of groups that say nothing in the groups' place."""
    for number, child in reversed(list(enumerate(element))):
        if child.tag == GROUP and not child.attrib:
            element[number : number + 1] = list(child)


def _hoist(element: ElementTree.Element) -> None:
    """Say once, at the group, what all its children say; of `IMPLIED` also what most of them say."""
    children = list(element)
    if element.tag != GROUP or len(children) < 2:
        return
    for name in INHERITED:
        values = [child.get(name, IMPLIED.get(name)) for child in children]
        value, times = Counter(values).most_common(1)[0]
        if value in (None, IMPLIED.get(name)) or (times < len(values) and name not in IMPLIED):
            continue
        element.set(name, value)
        for child, own in zip(children, values, strict=True):
            child.attrib.pop(name, None)
            if own is not None and own != value:
                child.set(name, own)


def _short(found: re.Match[str]) -> str:
    return short(float(found[0]))


def _draws_nothing(element: ElementTree.Element) -> bool:
    if element.get("display") == "none" or element.get("opacity") == "0":
        return True
    if element.tag == GROUP:
        return len(element) == 0
    if element.tag == TEXT:
        return not (element.text or len(element))
    return element.tag == PATH and not {"fill", "stroke"} & set(element.attrib)
