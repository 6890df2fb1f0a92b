// The spans of a trace as a timeline. Only the rows in sight exist, so that 30,000 spans scroll like 30.
// Text from outside reaches the page through textContent only.

const ROW = 28;
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
    this.scroll = make("div", "scroll");
    this.room = make("div", "room");
    this.ticks = make("div", "ticks");
    const axis = make("div", "axis");
    axis.append(make("div", "", "Span"), this.ticks, make("div", "took", "Duration"));
    this.scroll.append(this.room);
    this.scroll.tabIndex = 0;
    this.scroll.setAttribute("aria-label", "Spans; arrow keys move, Enter shows one");
    this.scroll.onscroll = () => this.draw();
    this.scroll.onkeydown = (event) => this.key(event);
    root.replaceChildren(axis, this.scroll);
    this.at = 0;
    this.picked = null;
  }

  update(component) {
    this.component = component;
    const { spans, total, picked } = component.data;
    if (spans.length !== this.spans?.length || spans[0]?.[0] !== this.spans[0]?.[0]) {
      this.spans = spans;
      this.total = total || 1;
      this.at = 0;
      this.room.style.height = `${spans.length * ROW}px`;
      this.scroll.style.height = `${Math.min(spans.length * ROW, 480) + 1}px`;
      this.ticks.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((part) => make("span", "", took(this.total * part))));
    }
    this.picked = picked;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / ROW) - 6);
    const last = Math.min(this.spans.length, first + Math.ceil((this.scroll.clientHeight || 480) / ROW) + 12);
    this.room.replaceChildren(...this.spans.slice(first, last).map((span, index) => this.row(span, first + index)));
  }

  row([id, name, kind, depth, start, duration, failed], number) {
    const line = make("div", `span${failed ? " failed" : ""}${id === this.picked ? " picked" : ""}`);
    line.style.top = `${number * ROW}px`;
    const label = make("div", "label");
    label.style.paddingLeft = `${Math.min(depth, 14) * 14}px`;
    label.append(name || "(unnamed)");
    if (kind !== "other") label.append(make("span", "kind", kind));
    label.title = name;
    const track = make("div", "track");
    const bar = make("div", `bar ${kind}`);
    const left = Math.min(99.7, (start / this.total) * 100);
    bar.style.left = `${left}%`;
    bar.style.width = `${Math.max(0.3, Math.min(100 - left, (duration / this.total) * 100))}%`;
    track.append(bar);
    line.append(label, track, make("div", "took", took(duration)));
    line.onclick = () => this.pick(number);
    return line;
  }

  pick(number) {
    this.at = number;
    this.picked = this.spans[number][0];
    this.draw();
    this.component.setTriggerValue("pick", this.picked);
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 }[event.key];
    if (step) {
      this.at = Math.max(0, Math.min(this.spans.length - 1, this.at + step));
      this.picked = this.spans[this.at][0];
      const top = this.at * ROW;
      if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
      if (top + ROW > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = top + ROW - this.scroll.clientHeight;
      this.draw();
    } else if (event.key === "Enter") this.pick(this.at);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function took(ms) {
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
