// What the log view is made of: rows as elements, moments as texts, ranges of lines.

/** `#L10` and `#L10-20` as the first and the last line; null of anything else. */
export function range(hash) {
  const found = /^#L(\d{1,15})(?:-L?(\d{1,15}))?$/.exec(hash);
  if (!found) return null;
  const [from, to] = [Number(found[1]), Number(found[2] ?? found[1])];
  return from > 0 && to > 0 ? [Math.min(from, to), Math.max(from, to)] : null;
}

/** The hash of a range. */
export function hash([from, to]) {
  return from === to ? `#L${from}` : `#L${from}-${to}`;
}

/** `+0.123`, `+1:02.003`, `+2:00:00.000`, as the server says it. */
export function since(from, at) {
  const sign = at < from ? "-" : "+";
  const all = Math.floor(Math.abs(at - from) / 1000);
  const pad = (number, width) => String(number).padStart(width, "0");
  const millis = pad(all % 1000, 3);
  const seconds = Math.floor(all / 1000) % 60;
  const minutes = Math.floor(all / 60000) % 60;
  const hours = Math.floor(all / 3600000);
  if (hours) return `${sign}${hours}:${pad(minutes, 2)}:${pad(seconds, 2)}.${millis}`;
  return minutes ? `${sign}${minutes}:${pad(seconds, 2)}.${millis}` : `${sign}${seconds}.${millis}`;
}

/** A moment in microseconds since 1970: `2026-01-31 12:00:00.123 UTC`. */
export function exact(at) {
  return new Date(Math.floor(at / 1000)).toISOString().replace("T", " ").replace("Z", " UTC");
}

/** The moment of a line as it is asked for. */
export function moment(times, at, start, before) {
  if (times === "relative") return since(start ?? at, at);
  if (times === "delta") return since(before ?? at, at);
  return times === "off" ? "" : exact(at).split(" ")[1];
}

/** A number with its thousands apart. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** So many lines, of which kind: `1 line`, `300 new lines`. */
export function counted(lines, kind = "") {
  return `${count(lines)} ${kind}${lines === 1 ? "line" : "lines"}`;
}

/** A size: `340 B`, `8.2 KiB`. */
export function bytes(size) {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  if (size < 1024) return `${size} B`;
  let value = size / 1024;
  let unit = 0;
  for (; value >= 1023.95 && unit + 1 < units.length; unit++) value /= 1024;
  return `${value < 99.95 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}

const KINDS = ["step", "play", "task", "group"];

/** The folds that hold an offset, the outermost first. */
export function chain(folds, offset) {
  const holding = [...folds].filter((it) => it.start <= offset && offset < (it.end ?? Infinity));
  return holding.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.start - b.start);
}

/** The title of a group that a line begins. */
export function title(row) {
  const text = row.runs.map((it) => (typeof it === "string" ? it : it[1])).join("");
  return text.replace(/^\s*(::group::|##\[group\])/, "").trim() || "Group";
}

/** An element with a class and a text. */
export function make(name, kind, text) {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** What stands where lines are missing. */
function gap({ from, to, lines, reason }) {
  const many = lines ? `, ${count(lines)} ${lines === 1 ? "line" : "lines"},` : "";
  const why = reason === "truncated" ? "left out here: the log grew past its size limit" : "missing here: lost to a fault";
  const element = make("p", "gap", `${bytes(to - from)}${many} ${why}`);
  element.setAttribute("role", "note");
  return element;
}

/** A row of the log. `api` is where its raw text is. */
export function line(row, api) {
  if (row.gap) return gap(row.gap);
  const element = make("div", row.stream === "stderr" ? "row err" : "row");
  const number = make(row.continues ? "span" : "a", "n", row.line);
  if (!row.continues) {
    element.id = `L${row.line}`;
    number.href = `#L${row.line}`;
  }
  element.append(number);
  if (row.time_us) {
    const time = make("time");
    time.title = exact(row.time_us);
    element.append(time);
  }
  const text = make("span", "x");
  for (const run of row.runs) text.append(typeof run === "string" ? run : make("span", run[0], run[1]));
  element.append(text);
  if (row.left_out_bytes) {
    const rest = make("a", "cut", `${bytes(row.left_out_bytes)} more`);
    rest.href = `${api}?from_line=${row.line}&lines=1`;
    element.append(rest);
  }
  return element;
}

/** Lets an element reach to the foot of the window, or nearly fill it where it begins too low. */
export function fit(element) {
  const room = innerHeight - (element.getBoundingClientRect().top + scrollY) - 16;
  element.style.maxHeight = `${room >= 320 ? room : Math.max(256, innerHeight - 64)}px`;
}
