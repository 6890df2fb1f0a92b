// The spans of a trace as a tree beside a time axis. They come as columns, and only the rows in sight exist in the page,
// so that 30,000 spans open, fold and scroll like 30. Text from outside reaches the page through textContent only.

const ROW = 28;
const SPARE = 8;
const HEIGHT = 480;
const instances = new WeakMap();

export default function timeline(component) {
  const { parentElement } = component;
  let view = instances.get(parentElement);
  if (!view) {
    view = new Timeline(parentElement.querySelector("#spans"));
    instances.set(parentElement, view);
  }
  view.update(component);
  return () => instances.delete(parentElement);
}

class Timeline {
  constructor(root) {
    this.root = root;
    this.scroll = make("div", "scroll");
    this.room = make("div", "room");
    this.ticks = make("div", "ticks");
    const axis = make("div", "axis");
    axis.append(make("div", "", "Span"), this.ticks, make("div", "took", "Duration"));
    this.scroll.append(this.room);
    this.scroll.tabIndex = 0;
    this.scroll.setAttribute("role", "tree");
    this.scroll.setAttribute("aria-label", "Spans; arrow keys move and fold, Enter shows one, e goes to the next error");
    this.scroll.onscroll = () => this.draw();
    this.scroll.onkeydown = (event) => this.key(event);
    root.replaceChildren(this.tools(), axis, this.scroll);
    this.folded = new Set();
    this.picked = null;
    this.text = "";
    this.extra = null; // rows whose attributes the server found the text in
  }

  tools() {
    this.search = make("input", "search");
    this.search.type = "search";
    this.search.placeholder = "Search names; Enter also searches attributes";
    this.search.setAttribute("aria-label", "Search within spans");
    this.search.oninput = () => {
      this.text = this.search.value.trim().toLowerCase();
      this.extra = null;
      this.fold();
    };
    this.search.onkeydown = (event) => {
      if (event.key === "Enter" && this.text) this.component.setTriggerValue("find", this.search.value.trim());
      else if (event.key === "ArrowDown") this.scroll.focus();
      else if (event.key !== "Escape" || !this.search.value) {
        event.stopPropagation();
        return;
      } else {
        this.search.value = "";
        this.search.oninput();
      }
      event.preventDefault();
      event.stopPropagation();
    };
    this.count = make("span", "count");
    this.levels = make("select", "levels");
    this.levels.setAttribute("aria-label", "Levels shown");
    for (const [value, words] of [["", "All levels"], ["1", "1 level"], ["2", "2 levels"], ["3", "3 levels"], ["5", "5 levels"]]) {
      const option = make("option", "", words);
      option.value = value;
      this.levels.append(option);
    }
    this.levels.onchange = () => {
      this.foldBelow(Number(this.levels.value) || Infinity);
      this.fold();
    };
    this.errors = make("button", "errors");
    this.errors.type = "button";
    this.errors.onclick = () => this.nextError(1);
    const bar = make("div", "tools");
    bar.append(this.search, this.count, this.levels, this.errors);
    return bar;
  }

  update(component) {
    this.component = component;
    const data = component.data;
    if (data.stamp !== this.stamp) this.take(data);
    const found = data.found;
    if (found && found.text.trim().toLowerCase() === this.text && this.text && this.foundFor !== found) {
      this.foundFor = found;
      this.extra = new Set(found.rows);
      this.fold();
    }
    if (data.picked !== null && data.picked !== this.picked) this.picked = this.at = data.picked;
    this.draw();
  }

  take(data) {
    this.stamp = data.stamp;
    this.data = data;
    this.picked = null;
    this.failed = new Set(data.failed);
    this.at = 0;
    this.folded.clear();
    const { depth } = data;
    this.parent = new Int32Array(depth.length);
    const path = [];
    for (let row = 0; row < depth.length; row += 1) {
      path.length = depth[row];
      this.parent[row] = depth[row] ? path[depth[row] - 1] : -1;
      path.push(row);
    }
    this.errors.hidden = !data.failed.length;
    this.errors.textContent = `Next error (${data.failed.length.toLocaleString("en")})`;
    this.ticks.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((part) => make("span", "", took(data.total * part))));
    this.fold();
  }

  // Which rows there are: all but those below a folded one, or, in a search, what matches and what it stands under.
  fold() {
    const { depth, names, name, kinds, kind } = this.data;
    const rows = [];
    let matches = 0;
    if (this.text) {
      const hit = names.map((one) => one.toLowerCase().includes(this.text));
      const kindHit = kinds.map((one) => one.toLowerCase() === this.text);
      const wanted = new Uint8Array(depth.length);
      for (let row = 0; row < depth.length; row += 1) {
        if (!hit[name[row]] && !kindHit[kind[row]] && !this.extra?.has(row)) continue;
        matches += 1;
        wanted[row] = 2;
        for (let up = this.parent[row]; up >= 0 && !wanted[up]; up = this.parent[up]) wanted[up] = 1;
      }
      for (let row = 0; row < depth.length; row += 1) if (wanted[row]) rows.push(row);
      this.wanted = wanted;
    } else {
      this.wanted = null;
      let below = Infinity;
      for (let row = 0; row < depth.length; row += 1) {
        if (depth[row] > below) continue;
        below = this.folded.has(row) ? depth[row] : Infinity;
        rows.push(row);
      }
    }
    this.rows = rows;
    const all = depth.length.toLocaleString("en");
    this.count.textContent = this.text
      ? `${matches.toLocaleString("en")} of ${all} match${this.extra ? ", attributes too" : ""}`
      : rows.length === depth.length
        ? `${all} spans`
        : `${rows.length.toLocaleString("en")} of ${all} shown`;
    this.room.style.height = `${rows.length * ROW}px`;
    this.scroll.style.height = `${Math.max(ROW, Math.min(rows.length * ROW, HEIGHT)) + 1}px`;
    this.draw();
  }

  foldBelow(levels) {
    this.folded.clear();
    const { depth } = this.data;
    for (let row = 0; row + 1 < depth.length; row += 1) if (depth[row] >= levels - 1 && this.hasChildren(row)) this.folded.add(row);
  }

  hasChildren(row) {
    const { depth } = this.data;
    return row + 1 < depth.length && depth[row + 1] > depth[row];
  }

  draw() {
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / ROW) - SPARE);
    const last = Math.min(this.rows.length, first + Math.ceil((this.scroll.clientHeight || HEIGHT) / ROW) + 2 * SPARE);
    const lines = [];
    for (let place = first; place < last; place += 1) lines.push(this.line(this.rows[place], place));
    this.room.replaceChildren(...lines);
  }

  line(row, place) {
    const { names, name, kinds, kind, depth, start, took: lasted, total } = this.data;
    const classes = ["span"];
    if (this.failed.has(row)) classes.push("failed");
    if (row === this.picked) classes.push("picked");
    if (row === this.at) classes.push("at");
    if (this.wanted && this.wanted[row] === 1) classes.push("between");
    const line = make("div", classes.join(" "));
    line.style.top = `${place * ROW}px`;
    line.setAttribute("role", "treeitem");
    line.setAttribute("aria-level", depth[row] + 1);
    line.setAttribute("aria-selected", row === this.picked);
    const label = make("div", "label");
    label.style.paddingInlineStart = `${Math.min(depth[row], 14) * 14}px`;
    const twist = make("button", "twist");
    twist.type = "button";
    twist.tabIndex = -1;
    if (this.hasChildren(row)) {
      const open = !this.folded.has(row) || Boolean(this.text);
      twist.textContent = open ? "▾" : "▸";
      twist.setAttribute("aria-label", open ? "Fold" : "Unfold");
      line.setAttribute("aria-expanded", open);
      twist.onclick = (event) => {
        event.stopPropagation();
        this.turn(row, !open);
      };
    }
    const title = make("span", "name", names[name[row]] || "(unnamed)");
    title.dir = "auto";
    label.append(twist, title);
    const what = kinds[kind[row]];
    if (what !== "other") label.append(make("span", "kind", what));
    label.title = names[name[row]];
    const track = make("div", "track");
    const bar = make("div", `bar ${what}`);
    const left = Math.max(0, Math.min(99.7, (start[row] / total) * 100));
    bar.style.left = `${left}%`;
    bar.style.width = `${Math.max(0.3, Math.min(100 - left, (lasted[row] / total) * 100))}%`;
    track.append(bar);
    line.append(label, track, make("div", "took", took(lasted[row])));
    line.onclick = () => this.pick(row);
    return line;
  }

  turn(row, open) {
    if (open) this.folded.delete(row);
    else if (this.hasChildren(row)) this.folded.add(row);
    this.at = row;
    this.fold();
  }

  pick(row) {
    this.at = this.picked = row;
    this.draw();
    this.component.setTriggerValue("pick", { stamp: this.stamp, row });
  }

  nextError(step) {
    const { failed } = this.data;
    if (!failed.length) return;
    const found = step > 0 ? failed.find((row) => row > this.at) : failed.findLast((row) => row < this.at);
    const row = found ?? (step > 0 ? failed[0] : failed[failed.length - 1]);
    if (this.text && !this.wanted[row]) {
      this.search.value = this.text = "";
      this.extra = null;
    }
    for (let up = this.parent[row]; up >= 0; up = this.parent[up]) this.folded.delete(up);
    this.fold();
    this.reveal(row);
    this.pick(row);
  }

  reveal(row) {
    const place = this.placeOf(row);
    const top = place * ROW;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + ROW > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = top + ROW - this.scroll.clientHeight;
  }

  // The place of a row among those there are, or of the nearest one before it; rows are in order.
  placeOf(row) {
    let low = 0;
    let high = this.rows.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.rows[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.rows.length) return;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity }[event.key];
    const here = this.rows[this.placeOf(this.at)];
    if (step) {
      const place = Math.max(0, Math.min(this.rows.length - 1, this.placeOf(this.at) + step));
      this.at = this.rows[place];
      this.reveal(this.at);
      this.draw();
    } else if (event.key === "Enter") this.pick(here);
    else if (event.key === "ArrowRight" && !this.text) this.turn(here, true);
    else if (event.key === "ArrowLeft" && !this.text) {
      if (this.hasChildren(here) && !this.folded.has(here)) this.turn(here, false);
      else if (this.parent[here] >= 0) {
        this.at = this.parent[here];
        this.reveal(this.at);
        this.draw();
      }
    } else if (event.key === "e" || event.key === "E") this.nextError(event.shiftKey ? -1 : 1);
    else if (event.key === "/") this.search.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function took(micros) {
  const ms = micros / 1000;
  if (ms >= 60000) return `${(ms / 60000).toFixed(1)} min`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
  return ms >= 10 || ms === 0 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
