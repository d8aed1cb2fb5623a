// Filter by strategy (kept in the URL's hash), hover values, tables that sort and filter. The page is whole without it.
(() => {
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, props = {}) => Object.assign(document.createElement(tag), props);
document.documentElement.classList.add("js");

// strategies: the legend becomes a row of switches
const chips = all(".chip").map((item) => {
  const button = make("button", { type: "button" });
  button.append(...item.childNodes);
  item.append(button);
  return { key: item.dataset.f, name: button.textContent, button, hidden: false };
});
const marked = all("[class*='f']").filter((el) => !el.matches(".chip, .chip *"))
  .map((el) => ({ el, keys: [...el.classList].filter((name) => /^f\d+$/.test(name)) }))
  .filter((mark) => mark.keys.length);
const show = () => {
  const hidden = new Set(chips.filter((chip) => chip.hidden).map((chip) => chip.key));
  for (const chip of chips) chip.button.setAttribute("aria-pressed", String(!chip.hidden));
  for (const mark of marked) mark.el.classList.toggle("off", mark.keys.every((key) => hidden.has(key)));
};
const read = () => {
  const found = /^#hide=(.*)$/.exec(location.hash);
  if (!found && location.hash) return;
  let names = [];
  try { names = found ? found[1].split(",").map(decodeURIComponent) : []; } catch { names = []; }
  for (const chip of chips) chip.hidden = names.includes(chip.name);
  show();
};
const write = () => {
  const names = chips.filter((chip) => chip.hidden).map((chip) => encodeURIComponent(chip.name));
  try { history.replaceState(null, "", names.length ? "#hide=" + names.join(",") : location.pathname + location.search); } catch { /* file:// of some browsers */ }
};
for (const chip of chips) {
  chip.button.addEventListener("click", () => {
    chip.hidden = !chip.hidden;
    if (chips.every((other) => other.hidden)) for (const other of chips) other.hidden = false;
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

// hover values: the titles of the marks, shown at once and in the page's own type
const tip = make("div", { className: "tip", hidden: true });
document.body.append(tip);
const texts = new WeakMap();
for (const title of all("svg .m > title")) {
  texts.set(title.parentNode, title.textContent);
  title.remove();
}
for (const figure of all("figure")) {
  const wide = all(".wide .m:not(text)", figure);
  all(".narrow .m:not(text)", figure).forEach((mark, at) => { if (wide[at]) texts.set(mark, texts.get(wide[at])); });
}
const hover = (event) => {
  const mark = event.target.closest ? event.target.closest("svg .m:not(.off)") : null;
  const text = mark && texts.get(mark);
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
const value = (row, column, number) => {
  const text = row.cells[column].textContent.trim();
  if (!number) return text;
  const parsed = parseFloat(text.replace(/,/g, ""));
  return Number.isNaN(parsed) ? null : parsed;
};
for (const table of all("table")) {
  const heads = all("th", table), body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    const number = head.classList.contains("n");
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === (number ? "descending" : "ascending") ? number : !number;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [value(row, column, number), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = number ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return down ? order : -order;
      });
      body.append(...rows.map(([, row]) => row));
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
