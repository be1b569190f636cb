// Lists that are searched while somebody types, and texts to copy.

/** Milliseconds for which a button says that it has copied. */
const SAID_FOR = 1500;

/** Gives each text to copy its button, where the browser lets a page copy. */
export function copies() {
  if (!navigator.clipboard) return;
  const prepare = () => {
    for (const text of document.querySelectorAll("pre[data-copy]:not([data-copied])")) {
      text.dataset.copied = "";
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-live", "polite");
      button.addEventListener("click", async () => {
        const done = await navigator.clipboard.writeText(text.textContent).then(() => true, () => false);
        button.textContent = done ? "Copied" : "Not allowed";
        setTimeout(() => (button.textContent = "Copy"), SAID_FOR);
      });
      text.before(button);
    }
  };
  document.addEventListener("danube:changed", prepare);
  prepare();
}

/** Hides the rows of a list that don't have all the words of its field. */
export function finds() {
  for (const field of document.querySelectorAll("[data-find]")) {
    const list = document.getElementById(field.dataset.find);
    const found = document.getElementById(`${field.dataset.find}-found`);
    if (!list) continue;
    const rows = [...list.querySelectorAll("[data-row]")];
    const texts = rows.map((it) => it.textContent.toLowerCase());
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row, n) => (row.hidden = !words.every((it) => texts[n].includes(it))));
      for (const group of list.querySelectorAll("[data-group]")) {
        group.hidden = !group.querySelector("[data-row]:not([hidden])");
      }
      const count = rows.filter((it) => !it.hidden).length;
      found.textContent = `${count} of ${rows.length} signals`;
    });
  }
}
