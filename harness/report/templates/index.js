// A field that filters the runs by words, kept in the URL's hash. The list is whole without it.
(() => {
"use strict";
const list = document.querySelector(".runs"), runs = [...list.children];
const input = Object.assign(document.createElement("input"), { type: "search", autocomplete: "off", spellcheck: false });
const label = Object.assign(document.createElement("label"), { textContent: "Show runs with " });
const left = document.createElement("output"), line = Object.assign(document.createElement("div"), { className: "search" });
const texts = runs.map((run) => run.textContent.toLowerCase().replace(/\s+/g, " "));
const filter = () => {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  runs.forEach((run, at) => {
    const out = !words.every((word) => texts[at].includes(word));
    run.classList.toggle("out", out);
    shown += !out;
  });
  left.textContent = words.length ? shown + " of " + runs.length : "";
};
input.addEventListener("input", () => {
  filter();
  try { history.replaceState(null, "", input.value ? "#" + encodeURIComponent(input.value) : location.pathname + location.search); } catch { /* file:// of some browsers */ }
});
try { input.value = decodeURIComponent(location.hash.slice(1)); } catch { /* no text of ours */ }
if (input.value === "main") input.value = "";
label.append(input);
line.append(label, left);
list.before(line);
filter();
})();
