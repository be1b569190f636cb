// One connection a tab says that something of the page has changed. The page is asked for again
// then, and what differs of its marked parts takes the place of what was there.

/** Milliseconds between two looks at a page that changes all the time. */
const LOOK_EVERY = 700;
/** Milliseconds after which a connection that broke is tried again, at first and at most. */
const AGAIN = [500, 10000];

/** Milliseconds for which an answer is waited for. */
export const ANSWER_MAX = 30000;

const listeners = new Map();
let wait = AGAIN[0];
let lookAt = 0;
let timer = 0;
let source = null;
let again = 0;

/** Calls `heard(data)` for each event of this name. */
export function on(name, heard) {
  listeners.set(name, heard);
}

/** Follows the page, if it says where. */
export function follow() {
  const address = document.body.dataset.live;
  if (!address) return;
  connect(address);
  window.addEventListener("pagehide", leave);
  // Kept by the browser meanwhile, and shown again.
  window.addEventListener("pageshow", (event) => event.persisted && connect(address));
}

function leave() {
  clearTimeout(again);
  source?.close();
}

function connect(address) {
  leave();
  const own = (source = new EventSource(address));
  own.addEventListener("open", () => {
    wait = AGAIN[0];
    tell("");
    look();
  });
  own.addEventListener("changed", look);
  for (const [name, heard] of listeners) {
    own.addEventListener(name, (event) => heard(JSON.parse(event.data)));
  }
  own.addEventListener("error", () => {
    own.close();
    tell("The server isn't reached; trying again.");
    // Where the session is over, the page leads to the sign-in.
    look();
    again = setTimeout(() => connect(address), wait);
    wait = Math.min(wait * 2, AGAIN[1]);
  });
}

/** A line at the head of the page while it isn't up to date. */
function tell(text) {
  const line = document.getElementById("stale");
  line.textContent = text;
  line.hidden = text === "";
}

/** Looks at the page again: now, or as soon as it may be looked at again. */
export function look() {
  if (timer) return;
  const in_ms = Math.max(0, lookAt - Date.now());
  timer = setTimeout(async () => {
    lookAt = Date.now() + LOOK_EVERY;
    timer = 0;
    await refresh();
  }, in_ms);
}

async function refresh() {
  const ask = { headers: { accept: "text/html" }, signal: AbortSignal.timeout(ANSWER_MAX) };
  const answer = await fetch(location.href, ask).catch(() => null);
  // What is shown is better than nothing, while the server has trouble.
  if (!answer || answer.status === 429 || answer.status >= 500) return;
  if (answer.redirected || !answer.ok) return location.reload();
  const text = await answer.text().catch(() => null);
  if (text === null) return;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const now of document.querySelectorAll("[data-part]")) {
    const then = fresh.getElementById(now.id);
    if (then) swap(now, then);
  }
  document.title = fresh.title;
  // Nothing more will happen: nobody needs to tell.
  if (!fresh.body.dataset.live) leave();
  document.dispatchEvent(new CustomEvent("danube:changed"));
}

const FOCUSABLE = "a[href], button, input, select, summary, [tabindex]";
const seen = new WeakMap();

/** Puts a part in another's place, if more than its times differ. */
function swap(now, then) {
  const text = settled(then.innerHTML);
  if (seen.get(now) === text) return;
  seen.set(now, text);
  const scrolled = [...now.querySelectorAll(".scroll")].map((it) => it.scrollLeft);
  const open = new Map([...now.querySelectorAll("details[id]")].map((it) => [it.id, it.open]));
  const focused = [...now.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  now.replaceChildren(...then.childNodes);
  now.querySelectorAll(".scroll").forEach((it, n) => (it.scrollLeft = scrolled[n] ?? 0));
  for (const it of now.querySelectorAll("details[id]")) it.open = open.get(it.id) ?? it.open;
  if (focused >= 0) now.querySelectorAll(FOCUSABLE)[focused]?.focus({ preventScroll: true });
}

/** What a part says, without what differs each time that it is asked for. */
function settled(html) {
  return html
    .replace(/(name="csrf" value=")[^"]*/g, "$1")
    .replace(/(<time [^>]*>|data-since="[^"]*">)[^<]*/g, "$1");
}
