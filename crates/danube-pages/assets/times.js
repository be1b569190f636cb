// Times that go on: how long ago something was, and how long something has run.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** How long ago, as the server says it. */
export function ago(then, now) {
  const seconds = (now - then) / 1000;
  const size = Math.abs(seconds);
  if (size < 1) return "now";
  const [of, name] = UNITS.find(([of]) => size >= of);
  const said = `${Math.floor(size / of)} ${name}`;
  return seconds > 0 ? `${said} ago` : `in ${said}`;
}

/** How long, in whole seconds and up. */
export function lasted(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const at = UNITS.findIndex(([of]) => seconds >= of);
  if (at < 0) return "0 s";
  const [of, name] = UNITS[at];
  const whole = `${Math.floor(seconds / of)} ${name}`;
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((seconds % of) / next[0]) : 0;
  return rest > 0 ? `${whole} ${rest} ${next[1]}` : whole;
}

/** Keeps the times of the page going. Their exact values stay in `title`. */
export function times() {
  const tick = () => {
    const now = Date.now();
    for (const it of document.querySelectorAll("time[data-time]")) {
      it.textContent = ago(Date.parse(it.dateTime), now);
    }
    for (const it of document.querySelectorAll("[data-since]")) {
      it.textContent = lasted(now - Date.parse(it.dataset.since));
    }
  };
  tick();
  setInterval(tick, 1000);
}
