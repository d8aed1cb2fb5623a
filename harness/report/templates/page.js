// Filter by strategy and recipe (kept in the URL's hash), hover values, tables that sort and filter. The page is whole without it.
(() => {
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, props = {}) => Object.assign(document.createElement(tag), props);
document.documentElement.classList.add("js");

// strategies and recipes: the legend becomes rows of switches; a mark is off where all it has in any row is
const rows = all(".chips").map((list) => all(".chip", list).map((item) => {
  const button = make("button", { type: "button" });
  button.append(...item.childNodes);
  item.append(button);
  return { key: item.dataset.f, token: item.dataset.token, button, hidden: false, row: list };
}));
const chips = rows.flat();
const rowOf = new Map(chips.map((chip) => [chip.key, chip.row]));
const off = new Map();
let hidden = new Set();
const isOff = (classes) => {
  if (!off.has(classes)) {
    const keys = classes.split(" ").filter((name) => rowOf.has(name));
    off.set(classes, keys.some((key) => keys.every((other) => rowOf.get(other) !== rowOf.get(key) || hidden.has(other))));
  }
  return off.get(classes);
};
let marked = null;
const show = () => {
  for (const chip of chips) chip.button.setAttribute("aria-pressed", String(!chip.hidden));
  hidden = new Set(chips.filter((chip) => chip.hidden).map((chip) => chip.key));
  if (!hidden.size && !marked) return;
  off.clear();
  marked ??= all("[class*='f']").map((el) => [el, el.getAttribute("class")]);
  for (const [el, classes] of marked) el.classList.toggle("hid", isOff(classes));
};
const read = () => {
  const found = /^#hide=(.*)$/.exec(location.hash);
  if (!found && location.hash) return;
  let names = [];
  try { names = found ? found[1].split(",").map(decodeURIComponent) : []; } catch { names = []; }
  for (const chip of chips) chip.hidden = names.includes(chip.token);
  show();
};
const write = () => {
  const names = chips.filter((chip) => chip.hidden).map((chip) => encodeURIComponent(chip.token));
  try { history.replaceState(null, "", names.length ? "#hide=" + names.join(",") : location.pathname + location.search); } catch { /* file:// of some browsers */ }
};
for (const chip of chips) {
  chip.button.addEventListener("click", () => {
    chip.hidden = !chip.hidden;
    const row = chips.filter((other) => other.row === chip.row);
    if (row.every((other) => other.hidden)) for (const other of row) other.hidden = false;
    show();
    write();
  });
}
addEventListener("hashchange", read);
read();
for (const link of all(".links a")) {
  link.addEventListener("click", (event) => {
    const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (!target) return;
    event.preventDefault();
    target.scrollIntoView();
    target.setAttribute("tabindex", "-1");
    target.focus({ preventScroll: true });
  });
}

// what is further down is laid out when nothing else is to be done
const undrawn = all("figure, .table");
const idle = window.requestIdleCallback || ((then) => setTimeout(then, 30));
const draw = () => {
  for (const box of undrawn.splice(0, 6)) box.classList.add("drawn");
  if (undrawn.length) idle(draw, { timeout: 50 });
};
idle(draw, { timeout: 50 });

// hover values: the titles of the marks, shown at once and in the page's own type
const tip = make("div", { className: "tip", hidden: true });
document.body.append(tip);
const texts = new WeakMap();
const textOf = (mark) => {
  const title = [...mark.children].find((child) => child.tagName === "title");
  if (title) {
    texts.set(mark, title.textContent);
    title.remove();
  }
  return texts.get(mark);
};
const hover = (event) => {
  const mark = event.target.closest && event.target.closest("svg .m, svg .m > *");
  const text = mark && !mark.closest(".hid") && textOf(mark);
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const width = tip.offsetWidth, height = tip.offsetHeight, room = document.documentElement.clientWidth;
  const top = event.clientY - height - 14;
  tip.style.left = Math.max(8, Math.min(event.clientX - width / 2, room - width - 8)) + "px";
  tip.style.top = (top < 8 ? event.clientY + 18 : top) + "px";
};
addEventListener("pointermove", hover);
addEventListener("pointerdown", hover);
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// tables: a click on a head sorts, the long ones have a field that filters
const collator = new Intl.Collator(undefined, { numeric: true });
const value = (row, column, number) => {
  const text = row.cells[column].textContent.trim();
  if (!number) return text;
  const parsed = parseFloat(text.replace(/,/g, "").replace("−", "-"));
  return Number.isNaN(parsed) ? null : parsed;
};
// columns of a long table keep their widths until the window changes: its rows out of sight need no layout then, when it is sorted
const widths = new CSSStyleSheet();
const lay = (table) => {
  const heads = all("th", table), lines = [...table.tBodies[0].rows];
  if (lines.length <= 100 || !table.offsetWidth || table.classList.contains("laid")) return;
  const rules = heads.map((head, at) => `tr > :nth-child(${at + 1}) { width: ${head.getBoundingClientRect().width}px }`);
  const height = lines.map((row) => row.offsetHeight).find(Boolean) || 0;
  rules.push(`tr { contain-intrinsic-size: auto ${height}px }`);
  widths.insertRule(`@media screen { ${rules.map((rule) => `#${table.id} ${rule}`).join(" ")} }`);
  table.classList.add("laid");
};
document.adoptedStyleSheets.push(widths);
addEventListener("resize", () => {
  for (const table of all(".laid")) table.classList.remove("laid");
  widths.replaceSync("");
});
for (const table of all("table")) {
  const heads = all("th", table), body = table.tBodies[0], lines = [...body.rows];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    const number = head.classList.contains("n");
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === (number ? "descending" : "ascending") ? number : !number;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const rows = lines.map((row) => [value(row, column, number), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = number ? a - b : collator.compare(a, b);
        return down ? order : -order;
      });
      lay(table);
      body.replaceChildren(...rows.map(([, row]) => row));
    });
  });
}
for (const box of all(".filterable")) {
  const label = make("label", { textContent: "Show rows with " });
  const input = make("input", { type: "search", autocomplete: "off", spellcheck: false });
  const left = make("output");
  const rows = all("tbody tr", box);
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const out = !words.every((word) => text.includes(word));
      row.classList.toggle("out", out);
      shown += !out;
    }
    left.textContent = words.length ? shown + " of " + rows.length : "";
  };
  input.addEventListener("input", filter);
  label.append(input);
  const line = make("div", { className: "search" });
  line.append(label, left);
  box.prepend(line);
}
})();
