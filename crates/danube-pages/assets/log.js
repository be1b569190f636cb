// The log view: a window that moves over the whole log. What is near is asked for as the reader
// comes there, and what is far goes, so that a log of any length is as light as a short one.
import { ANSWER_MAX, on } from "./live.js";
import { find } from "./find.js";
import { chain, count, counted, fit, hash, line as lineOf, make, moment, range, title } from "./rows.js";

/** Lines that are asked for at once. */
const CHUNK = 300;
/** Elements in the page at most. */
const ROWS_MAX = 1500;
/** Pixels from the edge of what is there at which more is asked for. */
const NEAR = 2000;
/** Lines above the one that is gone to. */
const ABOVE = 60;
/** Milliseconds between two looks at a log that grows. */
const GROW_EVERY = 500;

/** Makes the page's log a view, if it has one. */
export function log() {
  const root = document.getElementById("log");
  if (root && root.dataset.gone === undefined) new View(root).begin();
}

class View {
  constructor(root) {
    this.root = root;
    this.rows = document.getElementById("log-rows");
    this.api = root.dataset.api;
    this.folds = new Map();
    /** What each element shows: its row, or its fold. */
    this.of = new WeakMap();
    this.lines = Number(root.dataset.lines);
    this.chosen = range(location.hash);
    this.work = Promise.resolve();
    this.times = document.querySelector("#log-go select").value;
  }

  begin() {
    this.root.hidden = false;
    // What was found is told beside the lines.
    document.getElementById("log-hits")?.remove();
    this.rows.classList.add("windowed");
    this.controls();
    const asked = new URLSearchParams(location.search);
    // The line of a byte is known to whoever looked it up.
    if (asked.get("offset")) this.chosen ??= [Number(this.root.dataset.first), Number(this.root.dataset.first)];
    this.job(async () => {
      if (this.chosen) return this.show(this.chosen[0]);
      const query = new URLSearchParams();
      for (const name of ["from_line", "end"]) if (asked.get(name)) query.set(name, asked.get(name));
      this.reset(await this.get(query));
      this.rows.scrollTop = asked.get("from_line") ? 0 : this.rows.scrollHeight;
      await this.fill();
    });
    on("log", () => this.grown());
    document.addEventListener("danube:changed", () => this.grown());
    find(this, asked.get("q"));
    const size = () => fit(this.rows);
    window.addEventListener("resize", size);
    size();
    this.job(size);
    const isAlone = !document.getElementById("job-log");
    if (isAlone && document.activeElement === document.body) this.rows.focus({ preventScroll: true });
  }

  /** One thing after the other: none finds the rows as another left them half way. */
  job(work) {
    const done = this.work.then(work).catch(() => this.tell("The log can't be read now; scroll to try again."));
    this.work = done;
    return done;
  }

  async get(query) {
    const answer = await fetch(`${this.root.dataset.rows}?${new URLSearchParams(query)}`, {
      headers: { accept: "application/json" },
      signal: AbortSignal.timeout(ANSWER_MAX),
    });
    if (!answer.ok) throw new Error(answer.statusText);
    const part = await answer.json();
    this.lines = part.lines;
    this.start = part.start_us;
    for (const fold of part.folds ?? []) {
      this.folds.set(fold.id, { ...fold, open: this.folds.get(fold.id)?.open ?? fold.is_open });
    }
    this.place.max = Math.max(1, this.lines);
    this.followBox.hidden = part.has_ended;
    document.getElementById("log-pager").hidden = this.lines > 0;
    this.tell("");
    return part;
  }

  // What is shown.

  /** Shows a part and nothing else. */
  reset(part) {
    this.rows.replaceChildren();
    this.top = part.first_line;
    this.last = [];
    this.rows.append(this.made(part, []));
    this.bottom = this.after(part);
    this.top = this.before(part);
  }

  /** Rows as elements, under the heads of their folds. `held` are the folds before them. */
  made(part, held) {
    const made = document.createDocumentFragment();
    for (const row of part.rows) {
      const folds = chain(this.folds.values(), row.offset);
      const closed = folds.findIndex((it) => !it.open);
      const shown = closed < 0 ? folds : folds.slice(0, closed + 1);
      for (const fold of shown) if (!held.includes(fold.id)) made.append(this.head(fold));
      held = shown.map((it) => it.id);
      if (closed < 0) made.append(this.row(row));
    }
    this.last = held;
    return made;
  }

  row(row) {
    const element = lineOf(row, this.api);
    this.of.set(element, { row, line: row.line });
    if (row.group === "start" && !this.folds.has(`g${row.line}`)) {
      element.classList.add("head");
      element.querySelector(".x").textContent = title(row);
      const button = make("button", "toggle", "Fold");
      button.type = "button";
      button.setAttribute("aria-label", `Fold ${title(row)}`);
      button.addEventListener("click", () => this.job(() => this.group(row)));
      element.append(button);
    }
    this.mark(element, row);
    return element;
  }

  head(fold) {
    const element = make("div", `fold-head ${fold.kind}`);
    const button = make("button", "toggle");
    button.type = "button";
    button.setAttribute("aria-expanded", String(fold.open));
    button.append(make("span", "dim", fold.kind), " ", make("span", "name", fold.name));
    if (fold.status) button.append(" ", make("span", `status ${fold.status}`, fold.status));
    if (!fold.open && fold.end_line) button.append(" ", make("span", "dim", counted(fold.end_line - fold.first_line)));
    button.addEventListener("click", () => this.job(() => this.toggle(fold.id)));
    element.append(button);
    this.of.set(element, { fold, line: fold.first_line });
    return element;
  }

  /** Marks a row that is chosen, and says its moment. */
  mark(element, row) {
    const [from, to] = this.chosen ?? [0, 0];
    element.classList.toggle("chosen", row.line >= from && row.line <= to);
    element.classList.toggle("found", row.line === this.found);
    const time = element.querySelector("time");
    if (!time) return;
    const before = this.times === "delta" ? this.timeBefore : undefined;
    time.textContent = moment(this.times, row.time_us, this.start, before);
    this.timeBefore = row.time_us;
  }

  /** Marks all rows again. */
  remark() {
    this.timeBefore = undefined;
    this.rows.classList.toggle("off", this.times === "off");
    for (const element of this.rows.children) {
      const row = this.of.get(element)?.row;
      if (row && !row.gap) this.mark(element, row);
    }
  }

  /** The closed fold around a line, the outermost of several. */
  closedAt(line) {
    const around = [...this.folds.values()].filter((it) => !it.open && it.first_line <= line && line < (it.end_line ?? Infinity));
    return around.sort((a, b) => a.start - b.start || b.first_line - a.first_line)[0];
  }

  /** The line to go on with below a part: what is folded away isn't asked for. */
  after(part) {
    const closed = this.closedAt(part.next_line);
    const isShown = closed && part.rows.some((it) => it.offset >= closed.start);
    return isShown ? (closed.end_line ?? Infinity) : part.next_line;
  }

  before(part) {
    const closed = this.closedAt(part.first_line);
    return closed ? Math.min(closed.first_line, part.first_line) : part.first_line;
  }

  async down() {
    const part = await this.get({ from_line: this.bottom, lines: CHUNK });
    const from = this.bottom;
    this.rows.append(this.made(part, this.last));
    this.bottom = Math.max(this.after(part), from + 1);
    this.trim(false);
  }

  async up() {
    const part = await this.get({ before_line: this.top, lines: CHUNK });
    const last = this.last;
    const fresh = this.made(part, []);
    this.keepPlace(() => {
      // Heads that stand above now needn't stand here again.
      const isAbove = (it) => it && this.last.includes(this.of.get(it)?.fold?.id);
      while (isAbove(this.rows.firstElementChild)) this.rows.firstElementChild.remove();
      this.rows.prepend(fresh);
    });
    this.last = last;
    this.top = Math.min(this.before(part), this.top - 1);
    this.trim(true);
  }

  /** Changes what stands above what the reader sees, and leaves that where it is. */
  keepPlace(change) {
    const below = this.rows.scrollHeight - this.rows.scrollTop;
    change();
    this.rows.scrollTop = this.rows.scrollHeight - below;
  }

  /** Takes rows out at the end that the reader is farther from. */
  trim(atEnd) {
    const over = this.rows.childElementCount - ROWS_MAX;
    if (over <= 0) return;
    if (!atEnd) {
      this.keepPlace(() => [...this.rows.children].slice(0, over).forEach((it) => it.remove()));
      this.top = this.of.get(this.rows.firstElementChild).line;
      return;
    }
    [...this.rows.children].slice(-over).forEach((it) => it.remove());
    const { row, fold: shown, line } = this.of.get(this.rows.lastElementChild);
    const fold = shown && this.folds.get(shown.id);
    this.bottom = fold ? (fold.open ? line : (fold.end_line ?? Infinity)) : line + 1;
    this.last = chain(this.folds.values(), row ? row.offset : fold.start).map((it) => it.id);
  }

  get isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.rows;
    return this.bottom > this.lines && scrollHeight - scrollTop - clientHeight < 8;
  }

  /** Asks for more until there is enough around what is seen. */
  async fill() {
    const { rows } = this;
    for (let turn = 0; turn < 20; turn++) {
      const below = rows.scrollHeight - rows.scrollTop - rows.clientHeight;
      if (below < NEAR && this.bottom <= this.lines) await this.down();
      else if (rows.scrollTop < NEAR && this.top > 1) await this.up();
      else break;
    }
    if (this.times === "delta") this.remark();
    this.seen();
  }

  // Where the reader is.

  scrolled() {
    if (this.waiting || this.bottom === undefined) return;
    this.waiting = true;
    requestAnimationFrame(async () => {
      this.waiting = false;
      this.follow(this.isAtEnd);
      this.seen();
      if (this.filling) return;
      this.filling = true;
      await this.job(() => this.fill());
      this.filling = false;
    });
  }

  /** The first line that is seen. */
  get line() {
    const edge = this.rows.getBoundingClientRect().top;
    const all = this.rows.children;
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (all[middle].getBoundingClientRect().bottom > edge + 1) high = middle;
      else low = middle + 1;
    }
    return (all[low] && this.of.get(all[low])?.line) ?? 1;
  }

  seen() {
    this.place.value = this.line;
    this.traced();
    this.where.textContent = `line ${count(this.line)} of ${count(this.lines)}`;
  }

  /** Shows a line, whatever it was folded away by. */
  async show(line) {
    // Where lines are so heavy that the one meant isn't reached, it comes first.
    for (const above of [ABOVE, 0]) {
      const part = await this.get({ from_line: Math.max(1, line - above), lines: CHUNK });
      for (let closed; (closed = this.closedAt(line)); ) closed.open = true;
      this.reset(part);
      if (document.getElementById(`L${line}`)) break;
    }
    this.follow(false);
    this.bring(document.getElementById(`L${line}`) ?? this.rows.querySelector(".gap"));
    await this.fill();
  }

  /** Scrolls so far that an element is a third down. */
  bring(element) {
    if (!element) return;
    const above = element.getBoundingClientRect().top - this.rows.getBoundingClientRect().top;
    this.rows.scrollTop += above - this.rows.clientHeight / 3;
  }

  /** Shows how it begins; what is folded away stays so. */
  async toStart() {
    this.reset(await this.get({ from_line: 1, lines: CHUNK }));
    this.rows.scrollTop = 0;
    this.follow(false);
    await this.fill();
  }

  async toEnd() {
    this.reset(await this.get({ end: 1, lines: CHUNK }));
    this.rows.scrollTop = this.rows.scrollHeight;
    await this.fill();
    this.rows.scrollTop = this.rows.scrollHeight;
    this.follow(true);
  }

  async toggle(id) {
    const fold = this.folds.get(id);
    fold.open = !fold.open;
    // The lines before stay; those in it come or go.
    const part = await this.get({ from_line: Math.max(1, fold.first_line - ABOVE), lines: CHUNK });
    this.reset(part);
    const head = [...this.rows.children].find((it) => this.of.get(it)?.fold?.id === id);
    this.bring(head);
    head?.querySelector("button").focus({ preventScroll: true });
    await this.fill();
  }

  /** Folds a group away: where it ends, a search says. */
  async group(row) {
    const query = new URLSearchParams({ q: String.raw`^\s*(::(end)?group::|##\[(end)?group\])`, from: row.offset, limit: 2 });
    const answer = await fetch(`${this.api}/search?${query}`, { signal: AbortSignal.timeout(ANSWER_MAX) });
    if (!answer.ok) throw new Error(answer.statusText);
    const found = (await answer.text()).trim().split("\n").map((it) => JSON.parse(it));
    const next = found.find((it) => it.line > row.line);
    const isEnd = next && /endgroup/.test(next.text);
    const around = chain(this.folds.values(), row.offset).filter((it) => it.kind !== "group").pop();
    let [end, end_line] = next ? [next.offset + Number(isEnd), next.line + Number(isEnd)] : [null, null];
    if (around?.end && (end === null || around.end < end)) [end, end_line] = [around.end, around.end_line];
    const id = `g${row.line}`;
    this.folds.set(id, { id, kind: "group", name: title(row), start: row.offset, end, first_line: row.line, end_line, open: true });
    await this.toggle(id);
  }

  // A log that grows.

  follow(is) {
    this.follows = is;
    this.followBox.setAttribute("aria-pressed", String(is));
    if (is) {
      this.seenLines = this.lines;
      this.more.hidden = true;
    }
  }

  grown() {
    if (this.growing || this.bottom === undefined) return;
    this.growing = true;
    setTimeout(() => {
      this.growing = false;
      this.job(() => this.grow());
    }, GROW_EVERY);
  }

  async grow() {
    const was = this.bottom > this.lines;
    const before = this.lines;
    await (was ? this.growDown() : this.get({ end: 1, lines: 1 }));
    this.seenLines ??= before;
    if (this.follows) {
      this.rows.scrollTop = this.rows.scrollHeight;
      this.follow(true);
    } else {
      const more = this.lines - this.seenLines;
      this.more.textContent = counted(more, "new ");
      this.more.hidden = more <= 0;
    }
    this.seen();
  }

  /** The end is here: what came belongs below it. The last line may have gone on. */
  async growDown() {
    const shown = () => this.of.get(this.rows.lastElementChild ?? this.rows);
    const row = shown()?.row;
    if (this.bottom === Infinity) return this.growFolded(shown().fold);
    const from = row && !row.gap ? row.line : this.bottom;
    const part = await this.get(this.follows ? { end: 1, lines: CHUNK } : { from_line: Math.max(1, from), lines: CHUNK });
    // More came than a reader could see: only the end counts.
    if (this.follows && part.first_line > from) return this.reset(part);
    const rows = part.rows.filter((it) => it.line >= from);
    while (rows.length && shown()?.row?.line >= from) this.rows.lastElementChild.remove();
    this.rows.append(this.made({ ...part, rows }, this.last));
    this.bottom = this.after(part);
    this.trim(false);
  }

  /** What comes is folded away; it goes on below once that has ended. */
  async growFolded({ id, first_line }) {
    await this.get({ from_line: first_line, lines: 1 });
    this.bottom = this.folds.get(id).end_line ?? Infinity;
    await this.get({ end: 1, lines: 1 });
  }

  // What the reader does.

  controls() {
    const bar = make("div", "log-state");
    const button = (text, label, work) => {
      const it = make("button", "", text);
      it.type = "button";
      it.title = label;
      it.addEventListener("click", work);
      bar.append(it);
      return it;
    };
    this.place = make("input");
    Object.assign(this.place, { type: "range", min: 1, max: Math.max(1, this.lines), step: 1 });
    this.place.setAttribute("aria-label", "Place in the log");
    this.place.addEventListener("change", () => this.job(() => this.show(Number(this.place.value))));
    this.where = make("span", "dim");
    bar.append(this.place, this.where);
    button("Start", "g", () => this.job(() => this.toStart()));
    button("End", "G", () => this.job(() => this.toEnd()));
    this.followBox = button("Follow", "f", () => this.toggleFollow());
    this.more = button("", "Go to the end", () => this.job(() => this.toEnd()));
    this.more.hidden = true;
    this.more.setAttribute("aria-live", "polite");
    this.copy = button("Copy link", "Copy a link to the chosen lines", () => this.copyLink());
    this.copy.hidden = !this.chosen;
    this.said = make("span");
    this.said.setAttribute("role", "status");
    bar.append(this.said);
    this.rows.before(bar);
    this.rows.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.rows.addEventListener("click", (event) => this.clicked(event));
    this.root.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.choose(range(location.hash), true));
    const go = document.getElementById("log-go");
    go.addEventListener("submit", (event) => {
      event.preventDefault();
      const line = Number(go.elements.from_line.value);
      if (line > 0) this.job(() => this.show(line));
    });
    this.remark();
    go.elements.times.addEventListener("change", () => {
      this.times = go.elements.times.value;
      this.remark();
    });
  }

  tell(text) {
    this.said.textContent = text;
  }

  toggleFollow() {
    return this.follows ? this.follow(false) : this.job(() => this.toEnd());
  }

  /** A click on a number chooses its line, with Shift all up to it. */
  clicked(event) {
    const number = event.target.closest("a.n");
    if (!number || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const line = range(number.hash)[0];
    const chosen = event.shiftKey && this.chosen ? [Math.min(this.chosen[0], line), Math.max(this.chosen[0], line)] : [line, line];
    history.replaceState(history.state, "", hash(chosen));
    this.choose(chosen, false);
  }

  choose(chosen, goes) {
    this.chosen = chosen;
    this.copy.hidden = !chosen;
    this.remark();
    this.traced();
    if (chosen && goes) this.job(() => this.show(chosen[0]));
  }

  /** Leads to the span that wrote what is chosen, or what is seen first. */
  traced() {
    const line = this.chosen?.[0] ?? this.line;
    const offset = this.of.get(document.getElementById(`L${line}`))?.row?.offset;
    const link = document.getElementById("log-trace");
    if (offset !== undefined) link.search = new URLSearchParams({ log: offset });
  }

  async copyLink() {
    const link = `${location.origin}${location.pathname}${hash(this.chosen)}`;
    const done = await navigator.clipboard?.writeText(link).then(() => true, () => false);
    this.tell(done ? "Copied." : link);
  }

  /** Single letters work where the log has the focus, and nowhere else. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const work = {
      "/": () => document.querySelector("#log-find [name=q]").focus(),
      n: () => this.finder?.next(1),
      N: () => this.finder?.next(-1),
      g: () => this.job(() => this.toStart()),
      G: () => this.job(() => this.toEnd()),
      f: () => this.toggleFollow(),
    }[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  }
}
