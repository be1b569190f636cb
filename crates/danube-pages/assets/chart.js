// Charts say the values of the moment that a pointer or the arrow keys are at. The values are those
// of the table below each chart.

import { look } from "./live.js";

const SVG = "http://www.w3.org/2000/svg";

/** Milliseconds after a look during which a pointer may still be on its way. */
const AT_REST = 3000;

let movedAt = 0;

/** Lets the page's charts be read. */
export function charts() {
  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.("[data-chart] > svg");
    if (svg) {
      movedAt = Date.now();
      point(svg, event.clientX);
    }
  });
  document.addEventListener("pointerout", (event) => {
    const svg = event.target.closest?.("[data-chart] > svg");
    if (svg && !svg.contains(event.relatedTarget) && svg !== document.activeElement) clear(svg);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.matches?.("[data-chart] > svg")) clear(event.target);
  });
  document.addEventListener("keydown", step);
  document.addEventListener("danube:changed", prepare);
  prepare();
}

/** Charts can be reached by key, and the browser's own words don't cover ours. */
function prepare() {
  for (const svg of document.querySelectorAll("[data-chart] > svg:not([tabindex])")) {
    if (rows(svg).length === 0) continue;
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("aria-keyshortcuts", "ArrowLeft ArrowRight Home End");
    for (const it of svg.querySelectorAll(".slice > title")) it.remove();
    const at = document.createElement("p");
    at.className = "at dim";
    at.setAttribute("role", "status");
    svg.after(at);
  }
}

/** The moments of a chart, the latest first. */
function rows(svg) {
  return [...svg.parentElement.querySelectorAll("tr[data-t]")];
}

function point(svg, clientX) {
  const box = svg.getBoundingClientRect();
  const { left, right, from, to } = numbers(svg);
  const x = ((clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
  const at = from + ((x - left) / (right - left)) * (to - from);
  const away = (row) => Math.abs(Number(row.dataset.t) - at);
  const all = rows(svg);
  if (all.length > 0) show(svg, all.reduce((best, it) => (away(it) < away(best) ? it : best)));
}

function step(event) {
  const svg = event.target;
  if (!svg.matches?.("[data-chart] > svg") || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = rows(svg);
  const now = all.findIndex((it) => it.dataset.t === svg.dataset.at);
  const next = { ArrowLeft: now + 1, ArrowRight: now - 1, Home: all.length - 1, End: 0 }[event.key];
  if (event.key === "Escape") clear(svg);
  if (next === undefined || all.length === 0) return;
  event.preventDefault();
  show(svg, all[now < 0 ? 0 : Math.min(Math.max(next, 0), all.length - 1)]);
}

function numbers(svg) {
  return Object.fromEntries(Object.entries(svg.dataset).map(([name, it]) => [name, Number(it)]));
}

/** Marks the moment, and says the values of all lines that have one. */
function show(svg, row) {
  if (svg.dataset.at === row.dataset.t) return;
  svg.dataset.at = row.dataset.t;
  const { left, right, top, bottom, from, to } = numbers(svg);
  const x = left + ((Number(row.dataset.t) - from) / (to - from)) * (right - left);
  let line = svg.querySelector(".cursor");
  if (!line) {
    line = document.createElementNS(SVG, "line");
    line.setAttribute("class", "cursor");
    svg.append(line);
  }
  for (const [name, it] of Object.entries({ x1: x, x2: x, y1: top, y2: bottom })) {
    line.setAttribute(name, it);
  }
  const [time, ...values] = [...row.cells].map((it) => it.textContent);
  const names = [...svg.parentElement.querySelectorAll(".legend .name")].map((it) => it.textContent);
  const said = values.map((it, n) => it && `${names[n]} ${it}`).filter(Boolean);
  const at = svg.parentElement.querySelector(".at");
  at.textContent = `${time} UTC · ${said.join(" · ")}`;
}

function clear(svg) {
  delete svg.dataset.at;
  svg.querySelector(".cursor")?.remove();
  const at = svg.parentElement.querySelector(".at");
  if (at) at.textContent = "";
}

/** Looks at the page again as often as a part of it says, unless somebody reads it just now. */
export function every() {
  const seconds = Number(document.querySelector("[data-every]")?.dataset.every);
  if (!(seconds > 0)) return;
  setInterval(() => {
    const is_read =
      Date.now() - movedAt < AT_REST || document.querySelector(".cursor, .values[open]");
    if (!document.hidden && !is_read) look();
  }, seconds * 1000);
}
