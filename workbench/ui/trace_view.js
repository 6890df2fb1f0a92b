// One trace: the numbers at a glance, the conversation with this turn in full, and the facts beside it.
// Text from outside reaches the page through textContent only; nothing of it becomes a link or markup.

const shown = new WeakMap();

export default function trace(component) {
  const root = component.parentElement.querySelector("#view");
  const signature = JSON.stringify(component.data);
  if (shown.get(root) === signature) return;
  if (!shown.has(root)) document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0); // a trace begins at its top
  shown.set(root, signature);
  const data = component.data;
  const talk = make("div", "talk");
  for (const turn of data.turns) talk.append(turn.current ? current(turn) : other(turn, component));
  root.replaceChildren(glance(data.glance), talk, aside(data.facts));
}

function glance(pairs) {
  const box = make("div", "glance");
  for (const [name, value, mood] of pairs) {
    const cell = make("div");
    cell.append(make("span", "quiet", name), make("b", mood, value));
    box.append(cell);
  }
  return box;
}

function other(turn, component) {
  const box = make("div", "turn");
  const head = make("div", "turnhead quiet");
  const open = link(turn.link, turn.time);
  open.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    component.setTriggerValue("open", turn.id);
  };
  open.title = "Open this turn";
  head.append(open);
  if (turn.rating !== null) head.append(stars(turn.rating));
  if (turn.failed) head.append(make("span", "badge bad", "error"));
  box.append(head, long(turn.question, "said text user"), long(turn.answer || turn.error, "said text"));
  return box;
}

function current(turn) {
  const box = make("div", "turn current");
  box.setAttribute("aria-current", "true");
  const head = make("div", "turnhead");
  head.append(make("span", "this", "This turn"), make("span", "quiet", turn.time));
  if (turn.rating !== null) head.append(stars(turn.rating));
  for (const rule of turn.guard) {
    const badge = make("span", "badge bad", rule.title);
    badge.title = rule.detail;
    head.append(badge);
  }
  box.append(head, make("div", "said text user", turn.question || "(no question)"));
  const answer = make("div", `said text assistant${turn.failed && !turn.answer ? " failed" : ""}`);
  write(answer, turn.answer || turn.error || "(no answer)");
  box.append(answer);
  if (turn.failed && turn.answer && turn.error) box.append(make("div", "small quiet", turn.error));
  if (turn.feedback.length) box.append(section("Feedback", turn.feedback.map(signal)));
  if (turn.documents.length) box.append(section(`Retrieved (${turn.documents.length})`, turn.documents.map(passage)));
  if (turn.tools.length) box.append(section(`Tool calls (${turn.tools.length})`, turn.tools.map(tool)));
  if (turn.messages.length) box.append(section("What the model saw", [messages(turn.messages)]));
  return box;
}

function signal(one) {
  const card = make("div", "card signal");
  const line = make("div", "line");
  line.append(make("span", "title", one.name));
  if (one.stars !== null) line.append(stars(one.stars));
  if (one.value) line.append(make("span", `badge ${one.mood}`, one.value));
  line.append(make("span", "quiet small", one.who), make("span", "end quiet", one.time));
  card.append(line);
  if (one.text) card.append(make("div", "text", one.text));
  return card;
}

function passage(one) {
  const card = details(one.cited);
  const summary = make("summary");
  summary.append(make("span", "title", one.title));
  if (one.cited) summary.append(make("span", "badge good", "cited"));
  if (one.version) summary.append(make("span", "quiet small", one.version));
  if (one.link) {
    const open = link(one.link, "Open the entry");
    open.className = "small";
    open.onclick = (event) => event.stopPropagation();
    summary.append(open);
  }
  if (one.score !== null) {
    const end = make("span", "end quiet", one.score.toFixed(2));
    const meter = make("span", "score");
    const fill = make("i");
    fill.style.width = `${Math.max(0, Math.min(1, one.score)) * 100}%`;
    meter.append(fill);
    summary.append(end, meter);
  }
  if (one.content) summary.append(make("span", "peek quiet", one.content.slice(0, 400)));
  const inside = make("div", "inside text");
  if (one.marked) inside.append(one.marked[0], make("mark", "", one.marked[1]), one.marked[2]);
  else write(inside, one.content);
  card.append(summary, inside);
  return card;
}

function tool(one) {
  const card = details(false);
  const summary = make("summary");
  summary.append(make("span", "title", one.name));
  if (one.failed) summary.append(make("span", "badge bad", "failed"));
  if (one.receipt) summary.append(make("span", "badge good", `receipt ${one.receipt}`));
  summary.append(make("span", "end quiet", one.took));
  const inside = make("div", "inside pair");
  for (const [name, value] of one.parts) inside.append(make("span", "quiet", name), make("pre", "code", value));
  card.append(summary, inside);
  return card;
}

function messages(list) {
  const card = details(false);
  const summary = make("summary");
  const roles = {};
  for (const one of list) roles[one.role] = (roles[one.role] || 0) + 1;
  summary.append(make("span", "title", `${list.length} messages`));
  summary.append(make("span", "quiet small", Object.entries(roles).map(([role, count]) => `${count} ${role}`).join(", ")));
  const inside = make("div", "inside pair");
  for (const one of list) inside.append(make("span", "quiet", one.role), make("pre", "code", one.text));
  card.append(summary, inside);
  return card;
}

function aside(groups) {
  const box = make("aside");
  groups.forEach((group, index) => {
    if (index) box.append(make("div", "rule"));
    for (const fact of group) {
      const value = make("div", `value${fact.hash ? " hash" : ""}`);
      if (fact.link) value.append(link(fact.link, fact.value));
      else value.textContent = fact.value;
      if (fact.full) value.title = fact.full;
      box.append(make("div", "name", fact.name), value);
    }
  });
  return box;
}

function section(title, parts) {
  const box = make("section");
  box.append(make("h4", "", title), ...parts);
  return box;
}

function details(open) {
  const card = make("details", "card");
  card.open = open;
  return card;
}

function long(text, className) {
  const holder = make("div");
  const body = make("div", className, text);
  holder.append(body);
  if (text && (text.length > 420 || text.split("\n").length > 6)) {
    body.classList.add("folded");
    const more = make("button", "more", "Show all");
    more.onclick = () => {
      const folded = body.classList.toggle("folded");
      more.textContent = folded ? "Show all" : "Show less";
    };
    holder.append(more);
  }
  return holder;
}

function stars(rating) {
  const full = Math.round(rating);
  const box = make("span", `stars${rating <= 2 ? " low" : ""}`, "★".repeat(full));
  box.append(make("span", "off", "★".repeat(5 - full)));
  box.title = `${rating} of 5`;
  return box;
}

function link(address, text) {
  const anchor = make("a", "", text);
  // Addresses are made by the server and lead into this app; anything else would be a mistake.
  if (address.startsWith("/") && !address.startsWith("//")) anchor.href = address;
  return anchor;
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) write(element, text);
  return element;
}

const MASK = /<(EMAIL|PHONE|CARD|IBAN|ID|SECRET|TERM)_([0-9]{1,9}|[0-9a-f]{12})>/g;

// Text as it is, with a small chip for every placeholder of masked data. Chips are made of text too.
function write(element, value) {
  const text = String(value);
  element.textContent = "";
  let position = 0;
  for (const match of text.matchAll(MASK)) {
    element.append(text.slice(position, match.index));
    const chip = document.createElement("span");
    chip.className = "mask";
    chip.textContent = `${match[1].toLowerCase()} ${match[2]}`;
    chip.title = `${match[0]}: masked when it came in`;
    element.append(chip);
    position = match.index + match[0].length;
  }
  element.append(text.slice(position));
}
