// The waterfall of a trace: subtrees fold, arrow keys walk, and a span's details come without the
// rest of the page. Without this each name is a link to the same details.

import { ANSWER_MAX } from "./live.js";

const folded = new Set();
let rows = [];
let current = "";
let hasFocus = false;

/** Begins, on the page of a trace. */
export function trace() {
  const area = document.getElementById("trace");
  if (!area) return;
  area.addEventListener("click", clicked);
  area.addEventListener("keydown", pressed);
  area.addEventListener("focusin", (event) => {
    const row = event.target.closest("tr[data-level]");
    hasFocus = row !== null;
    if (row) walkTo(row);
  });
  area.addEventListener("focusout", () => (hasFocus = false));
  const all = (fold) => () => {
    folded.clear();
    if (fold) for (const it of rows) if (it.hasChildren && it.level > 1) folded.add(it.key);
    showUnfolded();
  };
  document.getElementById("trace-fold").onclick = all(true);
  document.getElementById("trace-unfold").onclick = all(false);
  document.getElementById("trace-tools").hidden = false;
  document.addEventListener("danube:changed", begin);
  begin();
}

/** Makes a tree of the rows as they are now: the server may have sent them anew. */
function begin() {
  const table = document.querySelector(".waterfall");
  rows = [];
  if (!table) return;
  const hadFocus = hasFocus;
  table.setAttribute("role", "treegrid");
  rows = [...table.querySelectorAll("tr[data-level]")].map((row, at) => {
    row.at = at;
    return { row, at, level: Number(row.dataset.level), key: row.id, hasChildren: false };
  });
  for (const { row, at, level } of rows) {
    const hasChildren = row.id !== "" && rows[at + 1]?.level > level;
    rows[at].hasChildren = hasChildren;
    row.setAttribute("aria-level", level);
    if (hasChildren) row.setAttribute("aria-expanded", "true");
    row.tabIndex = -1;
    for (const it of row.querySelectorAll("a")) it.tabIndex = -1;
  }
  showUnfolded();
  const kept = rows.find((it) => it.key !== "" && it.key === current && !it.row.hidden);
  const first = kept ?? rows[0];
  if (first) {
    first.row.tabIndex = 0;
    if (kept && hadFocus) first.row.focus({ preventScroll: true });
  }
  mark();
}

/** Hides what stands below a folded row. */
function showUnfolded() {
  let below = Infinity;
  for (const it of rows) {
    const isHidden = it.level > below;
    if (!isHidden) below = Infinity;
    if (it.row.hidden !== isHidden) it.row.hidden = isHidden;
    if (isHidden || !it.hasChildren) continue;
    const isFolded = folded.has(it.key);
    if (isFolded) below = it.level;
    const open = String(!isFolded);
    if (it.row.getAttribute("aria-expanded") !== open) it.row.setAttribute("aria-expanded", open);
  }
  for (const piece of document.querySelectorAll(".waterfall tbody")) {
    piece.hidden = [...piece.rows].every((it) => it.hidden);
  }
}

function fold(it, isFolded) {
  if (isFolded) folded.add(it.key);
  else folded.delete(it.key);
  showUnfolded();
}

/** Of all rows one is reached by Tab: where somebody was last. */
function walkTo(row) {
  for (const it of document.querySelectorAll('.waterfall tr[tabindex="0"]')) it.tabIndex = -1;
  row.tabIndex = 0;
  current = row.id;
}

function clicked(event) {
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest("a");
  if (link) {
    if (link.id === "span-close") {
      event.preventDefault();
      return close();
    }
    const to = new URL(link.href);
    const id = to.searchParams.get("span");
    // What has an axis of its own is of one span, here or there: it is left by its links.
    const isBelow = [to, new URL(location.href)].some((it) => it.searchParams.get("only") === "below");
    if (to.pathname !== location.pathname || !id || isBelow) return;
    event.preventDefault();
    return show(id);
  }
  const row = event.target.closest("tr[data-level]");
  const it = row && rows[row.at];
  if (it?.hasChildren && event.target === row.cells[0]) fold(it, !folded.has(it.key));
}

function pressed(event) {
  if (event.key === "Escape" && document.getElementById("span")) {
    event.preventDefault();
    return close();
  }
  const row = event.target.closest("tr[data-level]");
  if (!row || event.target !== row || event.ctrlKey || event.metaKey || event.altKey) return;
  const it = rows[row.at];
  const near = (step) => {
    let at = it.at + step;
    while (rows[at]?.row.hidden) at += step;
    return rows[at];
  };
  const parent = () => {
    let at = it.at;
    while (at >= 0 && rows[at].level >= it.level) at -= 1;
    return rows[at];
  };
  let to = null;
  switch (event.key) {
    case "ArrowDown": to = near(1); break;
    case "ArrowUp": to = near(-1); break;
    case "Home": to = rows[0]; break;
    case "End": to = rows.findLast((it) => !it.row.hidden); break;
    case "ArrowRight":
      if (folded.has(it.key)) fold(it, false);
      else if (it.hasChildren) to = near(1);
      break;
    case "ArrowLeft":
      if (it.hasChildren && !folded.has(it.key)) fold(it, true);
      else to = parent();
      break;
    case "Enter": case " ":
      row.querySelector("a.name")?.click();
      break;
    default: return;
  }
  event.preventDefault();
  to?.row.focus();
}

/** The address of this page with another span. */
function address(id) {
  const to = new URL(location.href);
  to.searchParams.delete("log");
  if (to.searchParams.get("only") === "span") to.searchParams.delete("only");
  if (id) to.searchParams.set("span", id);
  else to.searchParams.delete("span");
  to.hash = "";
  return to;
}

async function show(id) {
  const ask = new URL(location.pathname, location.href);
  ask.search = new URLSearchParams({ only: "span", span: id });
  const how = { headers: { accept: "text/html" }, signal: AbortSignal.timeout(ANSWER_MAX) };
  const answer = await fetch(ask, how).catch(() => null);
  const to = address(id);
  if (!answer?.ok || answer.redirected) return location.assign(to);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const part = page.getElementById("span-part");
  if (!part) return location.assign(to);
  document.getElementById("span-part").replaceChildren(...part.childNodes);
  history.replaceState(null, "", to);
  mark();
  document.getElementById("span")?.focus({ preventScroll: matchMedia("(min-width: 70rem)").matches });
}

function close() {
  const id = document.getElementById("span")?.dataset.id;
  // An axis of the span's own goes with it.
  if (new URL(location.href).searchParams.get("only") === "below") return location.assign("?");
  document.getElementById("span-part").replaceChildren();
  history.replaceState(null, "", address(""));
  mark();
  const row = id && document.getElementById(`s-${id}`);
  if (row && !row.hidden) row.focus();
}

/** Shows in the rows which span the details are of, and what stands below it. */
function mark() {
  const id = document.getElementById("span")?.dataset.id;
  document.getElementById("trace").classList.toggle("with-span", id !== undefined);
  let below = Infinity;
  for (const { row, key, level } of rows) {
    if (level <= below) below = Infinity;
    row.classList.toggle("in", below !== Infinity);
    if (id !== undefined && key === `s-${id}`) {
      row.setAttribute("aria-current", "true");
      below = level;
    } else if (row.hasAttribute("aria-current")) {
      row.removeAttribute("aria-current");
    }
  }
}
