// Searching a log: the server searches all of it, and says each match as it finds it.
import { ANSWER_MAX } from "./live.js";
import { count, make } from "./rows.js";

/** Matches that one search asks for; those behind are asked for when the reader comes there. */
const HITS = 10000;

/** Searches the log of a view as its form says. `asked` is what the address says already. */
export function find(view, asked) {
  const form = document.getElementById("log-find");
  const finder = new Finder(view, form);
  view.finder = finder;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    finder.begin();
  });
  if (asked) finder.begin();
}

/** Calls `heard` for each line of an answer of JSON lines. */
export async function each(stream, heard) {
  const decoder = new TextDecoder();
  let rest = "";
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    const parts = (rest + decoder.decode(value, { stream: !done })).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) heard(JSON.parse(part));
    if (done) return;
  }
}

class Finder {
  constructor(view, form) {
    this.view = view;
    this.form = form;
    this.lines = [];
    this.at = -1;
    this.resume = null;
    this.bar = make("span", "find-state");
    this.said = make("span");
    this.said.setAttribute("role", "status");
    const button = (text, title, step) => {
      const it = make("button", "", text);
      Object.assign(it, { type: "button", title });
      it.addEventListener("click", () => this.next(step));
      return it;
    };
    this.bar.append(button("Previous", "N", -1), button("Next", "n", 1), this.said);
    this.bar.hidden = true;
    form.append(this.bar);
  }

  async begin() {
    this.stop?.abort();
    Object.assign(this, { lines: [], at: -1, resume: 0, wrong: "" });
    this.bar.hidden = false;
    // The first match from where the reader is; from the beginning where there is none.
    this.from = this.view.line;
    await this.search();
  }

  async search() {
    const stop = (this.stop = new AbortController());
    const form = new FormData(this.form);
    this.is_searching = true;
    try {
      for (let left = HITS; left > 0 && this.resume !== null; ) {
        const query = new URLSearchParams(form);
        query.set("from", this.resume);
        query.set("limit", left);
        const answer = await fetch(`${this.view.api}/search?${query}`, { signal: AbortSignal.any([stop.signal, AbortSignal.timeout(ANSWER_MAX)]) });
        if (!answer.ok) {
          const problem = await answer.json();
          throw new Error(problem.errors?.[0]?.message ?? problem.detail);
        }
        let end = null;
        await each(answer.body, (it) => {
          // A hit has an `end` too: where its match ends.
          if (typeof it.end === "object") end = it.end;
          else if (this.lines.at(-1) !== it.line) this.heard(it.line);
        });
        if (!end) throw new Error("the search broke off");
        this.resume = end.finished ? null : end.resume;
        left -= end.hits;
      }
    } catch (error) {
      if (stop.signal.aborted) return;
      this.wrong = error.message;
      this.resume = null;
    }
    if (stop.signal.aborted) return;
    this.is_searching = false;
    if (this.at < 0 && this.lines.length) this.go(0);
    this.say();
  }

  heard(line) {
    this.lines.push(line);
    if (this.at < 0 && line >= this.from) this.go(this.lines.length - 1);
    if (this.lines.length % 500 === 0) this.say();
  }

  /** The next match after what was looked at last, or the one before. */
  async next(step) {
    if (!this.lines.length) return;
    if (this.at + step >= this.lines.length && this.resume !== null && !this.is_searching) await this.search();
    this.go((this.at + step + this.lines.length) % this.lines.length);
  }

  go(at) {
    this.at = at;
    this.say();
    const line = this.lines[at];
    this.view.job(async () => {
      // Another was asked for meanwhile.
      if (this.lines[this.at] !== line) return;
      this.view.found = line;
      await this.view.show(line);
    });
  }

  say() {
    const more = this.is_searching || this.resume !== null ? "+" : "";
    const all = `${count(this.lines.length)}${more}`;
    const none = this.is_searching ? "searching" : "no line matches";
    const found = this.lines.length ? `${count(this.at + 1)} of ${all}` : none;
    this.said.textContent = this.wrong || found;
  }
}
