// A list of traces, sessions or users: opened by click or Enter, selected by checkbox or x, moved through by j and k.
// Text from outside reaches the page through textContent only.

const instances = new WeakMap();

export default function traces(component) {
  const { parentElement } = component;
  let list = instances.get(parentElement);
  if (!list) {
    list = new List(parentElement.querySelector("#list"));
    instances.set(parentElement, list);
  }
  list.update(component);
  return () => instances.delete(parentElement);
}

class List {
  constructor(root) {
    this.root = root;
    this.selected = new Set();
    this.anchor = null;
    this.signature = "";
    root.addEventListener("keydown", (event) => this.key(event));
  }

  update(component) {
    this.component = component;
    this.data = component.data;
    const signature = JSON.stringify(this.data);
    if (signature === this.signature) return;
    this.signature = signature;
    this.root.setAttribute("aria-label", this.data.label);
    this.root.classList.toggle("unpicked", !this.data.acts.length);
    const here = new Set(this.data.rows.map((row) => row.id));
    for (const id of [...this.selected]) if (!here.has(id)) this.selected.delete(id);
    const focused = this.root.getRootNode().activeElement?.dataset?.id;
    this.root.replaceChildren(this.head(), ...this.data.rows.map((row, index) => this.row(row, index)));
    this.root.querySelector(`[data-id="${focused}"]`)?.focus();
    this.showSelection();
  }

  head() {
    const head = make("div", "head");
    head.setAttribute("role", "row");
    const pick = make("label", "pick");
    this.all = make("input");
    this.all.type = "checkbox";
    this.all.setAttribute("aria-label", "Select every trace on this page");
    this.all.disabled = !this.data.acts.length;
    this.all.onchange = () => {
      this.selected = this.all.checked ? new Set(this.data.rows.map((row) => row.id)) : new Set();
      this.showSelection();
    };
    pick.append(this.all);
    this.titles = this.data.titles.map((title, index) =>
      make("div", index > 1 ? `wide c${index - 2}${index === 4 ? " num" : ""}` : "", title),
    );
    this.bar = make("div", "bar");
    this.bar.hidden = true;
    head.append(pick, ...this.titles, this.bar);
    return head;
  }

  row(row, index) {
    const line = make("a", `row${row.failed ? " failed" : ""}`);
    line.href = row.link;
    line.dataset.id = row.id;
    line.draggable = false;
    line.tabIndex = index === 0 ? 0 : -1;
    const pick = make("label", "pick");
    const box = make("input");
    box.type = "checkbox";
    box.tabIndex = -1;
    box.disabled = !this.data.acts.length;
    box.setAttribute("aria-label", "Select this trace");
    pick.append(box);
    pick.onclick = (event) => {
      event.stopPropagation();
      if (event.target !== box) return;
      this.toggle(row.id, box.checked, event.shiftKey);
    };
    const when = make("div", "whenbox");
    const time = make("div", "when", row.time);
    time.title = row.exact;
    when.append(time);
    if (row.rating !== null) when.append(stars(row.rating));
    const text = make("div", "text");
    text.append(make("div", "question", row.question || "(no question)"), make("div", "answer", row.answer || row.error || "(no answer)"));
    if (row.marks.length) {
      const marks = make("div", "marks");
      for (const [kind, word, title] of row.marks) {
        const mark = make("span", `mark ${kind}`, word);
        if (title) mark.title = title;
        marks.append(mark);
      }
      text.append(marks);
    }
    const cells = row.cells.map((pair, number) => {
      const cell = make("div", `cell c${number}${number === 2 ? " num" : ""}`);
      cell.append(this.part(pair[0], ""), this.part(pair[1], "quiet"));
      return cell;
    });
    line.append(pick, when, text, ...cells);
    line.onclick = (event) => {
      if (event.defaultPrevented || event.target.closest(".pick")) return;
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a new tab, as with any link
      event.preventDefault();
      this.component.setTriggerValue("open", row.id);
    };
    return line;
  }

  // One line of a cell: words, bars of a count over time, or the way to something else than the row.
  part(value, className) {
    if (value.bars) return bars(value);
    const line = make("div", className, value.words ?? value);
    line.title = value.title ?? value.words ?? value;
    if (!value.way) return line;
    line.classList.add("way");
    line.tabIndex = 0;
    line.setAttribute("role", "link");
    const go = (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.component.setTriggerValue("way", value.way);
    };
    line.onclick = go;
    line.onkeydown = (event) => {
      if (event.key === "Enter") go(event);
    };
    return line;
  }

  toggle(id, on, range) {
    const ids = this.data.rows.map((row) => row.id);
    const from = ids.indexOf(this.anchor);
    const to = ids.indexOf(id);
    const touched = range && from >= 0 ? ids.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
    for (const one of touched) on ? this.selected.add(one) : this.selected.delete(one);
    this.anchor = id;
    this.showSelection();
  }

  showSelection() {
    for (const line of this.root.querySelectorAll(".row")) {
      const on = this.selected.has(line.dataset.id);
      line.classList.toggle("selected", on);
      line.querySelector("input").checked = on;
    }
    const count = this.selected.size;
    this.all.checked = count > 0 && count === this.data.rows.length;
    this.all.indeterminate = count > 0 && count < this.data.rows.length;
    for (const title of this.titles) title.hidden = count > 0;
    this.bar.hidden = count === 0;
    if (!count) return;
    const buttons = this.data.acts.map(([kind, label]) => {
      const button = make("button", "", label);
      button.onclick = () => this.component.setTriggerValue("act", { kind, ids: [...this.selected] });
      return button;
    });
    const clear = make("button", "plain", "Clear");
    clear.onclick = () => {
      this.selected.clear();
      this.showSelection();
    };
    this.bar.replaceChildren(make("b", "", `${count} selected`), ...buttons, clear);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !event.target.closest?.(".row")) return;
    const rows = [...this.root.querySelectorAll(".row")];
    const at = rows.indexOf(event.target.closest(".row"));
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (step) {
      const next = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
      rows[at].tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      next.scrollIntoView({ block: "nearest" });
    } else if ((event.key === "x" || event.key === " ") && this.data.acts.length) {
      const id = rows[at].dataset.id;
      this.toggle(id, !this.selected.has(id), event.shiftKey);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// Each bar is a period; its lower part is what of it was rated low.
function bars({ bars: list, title }) {
  const box = make("div", "bars");
  const most = Math.max(1, ...list.map(([number]) => number));
  for (const [number, low] of list) {
    const bar = make("i");
    bar.style.height = number ? `${Math.max(10, (number / most) * 100)}%` : "1px";
    const part = make("b");
    part.style.height = `${number ? (low / number) * 100 : 0}%`;
    bar.append(part);
    box.append(bar);
  }
  box.title = title;
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", title);
  return box;
}

function stars(rating) {
  const full = Math.round(rating);
  const box = make("div", `stars${rating <= 2 ? " low" : ""}`, "★".repeat(full));
  box.append(make("span", "off", "★".repeat(5 - full)));
  box.title = `Rated ${rating} of 5`;
  box.setAttribute("aria-label", box.title);
  return box;
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
