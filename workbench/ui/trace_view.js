// One trace: the numbers at a glance, the conversation with this turn in full, and the facts beside it. Or a session: its turns.
// Text from outside reaches the page through textContent only; nothing of it becomes a link or markup.

const shown = new WeakMap();
const HOW = {
  named: "The application says that the answer cites this.",
  quoted: "The answer has these words.",
  nearest: "The answer cites this passage; this is the sentence most like what it says.",
};

export default function trace(component) {
  const root = component.parentElement.querySelector("#view");
  const signature = JSON.stringify(component.data);
  if (shown.get(root) === signature) return;
  if (!shown.has(root)) document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0); // a trace begins at its top
  shown.set(root, signature);
  const data = component.data;
  const talk = make("div", "talk");
  if (data.language) talk.lang = data.language; // so that Chinese and Japanese get their own shapes of shared characters
  if (data.earlier.length) talk.append(others(data.earlier, "Earlier in this conversation", component));
  if (data.turn) talk.append(current(data.turn));
  if (data.later.length) talk.append(others(data.later, "Later in this conversation", component));
  if (data.turns) talk.append(...data.turns.flatMap((turn) => session(turn, component)));
  if (data.said?.length) talk.append(section("Said about the whole session", data.said.map(signal)));
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

function others(turns, title, component) {
  const box = make("details", "others");
  const summary = make("summary", "quiet", `${title} (${turns.length} ${turns.length === 1 ? "turn" : "turns"})`);
  box.append(summary, ...turns.map((turn) => other(turn, component)));
  return box;
}

// A turn of a session, after what changed since the turn before it.
function session(turn, component) {
  const parts = turn.changed.map((words) => make("div", "changed small quiet", words));
  return [...parts, other(turn, component, 1500)];
}

function other(turn, component, limit = 420) {
  const box = make("div", "turn");
  if (turn.language) box.lang = turn.language;
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
  box.append(head, long(turn.question, "said text user", limit));
  for (const call of turn.tools || []) box.append(tool(call));
  box.append(long(turn.answer || turn.error || "(no answer)", "said text", limit));
  if (turn.machine) box.append(make("span", "badge machine", "machine-written"));
  for (const one of turn.feedback || []) box.append(signal(one));
  return box;
}

function current(turn) {
  const box = make("div", "turn current");
  box.setAttribute("aria-current", "true");
  const head = make("div", "turnhead");
  head.append(make("span", "this", "This turn"), make("span", "quiet", turn.time));
  if (turn.rating !== null) head.append(stars(turn.rating));
  box.append(head);
  if (turn.system) box.append(folded("System prompt", `${turn.system.length.toLocaleString("en")} characters`, make("div", "text", turn.system)));
  if (turn.before.length) {
    box.append(folded("Earlier in this request", count(turn.before.length, "message"), pairs(turn.before)));
  }
  box.append(long(turn.question || "(no question)", "said text user", 3000));
  for (const step of turn.steps) box.append(step.tool ? tool(step.tool) : said(step.said));
  if (turn.more_steps) box.append(make("div", "small quiet", `${count(turn.more_steps, "more step")} are in the spans below.`));
  const answer = turn.answer || turn.error || "(no answer)";
  box.append(long(answer, `said text assistant${turn.failed && !turn.answer ? " failed" : ""}`, 3000));
  if (turn.failed && turn.answer && turn.error) box.append(make("div", "small quiet text", turn.error));
  if (turn.answer) {
    const mark = make("span", `badge ${turn.machine ? "machine" : ""}`, turn.machine ? "machine-written" : "not written by a model");
    mark.title = turn.machine
      ? "A model wrote this answer. The mark stays with it: it becomes training data only after a person has seen it."
      : "No model wrote this answer.";
    const line = make("div", "marks");
    line.append(mark);
    box.append(line);
  }
  if (turn.guard.length) box.append(section(`Validators and policies that fired (${turn.guard.length})`, [...turn.guard.map(rule), ...(turn.written ? [replaced(turn)] : [])]));
  if (turn.feedback.length) box.append(section("Feedback", turn.feedback.map(signal)));
  if (turn.documents.length) {
    const more = turn.more_documents ? [make("div", "small quiet", `${count(turn.more_documents, "more passage")} in the raw trace.`)] : [];
    box.append(section(`Retrieved (${turn.documents.length + turn.more_documents})`, [...turn.documents.map(passage), ...more]));
  } else if (turn.missing) {
    const line = make("div", "small");
    line.append(make("span", "quiet", "Nothing was retrieved. "), link(turn.missing, "Add the knowledge that was missing"));
    box.append(section("Retrieved", [line]));
  }
  if (turn.messages.length) box.append(section("What the model saw", [messages(turn.messages)]));
  return box;
}

function said(message) {
  const box = make("div", "said step");
  box.append(make("span", "small quiet", message.role), long(message.text, "text", 1500));
  return box;
}

function rule(one) {
  const card = make("div", "card signal");
  const line = make("div", "line");
  line.append(make("span", "title", one.rule));
  if (one.done) line.append(make("span", "badge bad", one.done));
  card.append(line);
  if (one.detail) card.append(make("div", "text quiet", one.detail));
  return card;
}

function replaced(turn) {
  return folded("What the model wrote before the guard", "", make("div", "text", turn.written));
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
  if (one.key && one.key !== one.title) summary.append(make("span", "quiet small", one.key));
  if (one.cited) summary.append(make("span", "badge good", "cited"));
  if (one.version) summary.append(make("span", "quiet small", one.version));
  if (one.since) summary.append(make("span", "badge bad", one.since));
  for (const [address, words] of [[one.link, "Open the entry"], [one.correct, "Correct it"]]) {
    if (!address) continue;
    const open = link(address, words);
    open.classList.add("small");
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
  const content = one.pieces.join("");
  if (content) summary.append(make("span", "peek quiet", content.slice(0, 400)));
  const inside = make("div", "inside text");
  inside.dir = "auto";
  one.pieces.forEach((piece, index) => {
    if (index % 2 === 0) {
      const plain = document.createElement("span");
      write(plain, piece);
      return inside.append(plain);
    }
    const mark = make("mark", one.how, piece);
    mark.removeAttribute("dir"); // part of the sentence around it
    mark.title = HOW[one.how] || "";
    inside.append(mark);
  });
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
  for (const part of inside.querySelectorAll("pre")) part.dir = "ltr"; // JSON
  card.append(summary, inside);
  return card;
}

function messages(list) {
  const roles = {};
  for (const one of list) roles[one.role] = (roles[one.role] || 0) + 1;
  const words = Object.entries(roles).map(([role, number]) => `${number} ${role}`);
  return folded(count(list.length, "message"), words.join(", "), pairs(list));
}

function pairs(list) {
  const inside = make("div", "pair");
  for (const one of list) inside.append(make("span", "quiet", one.role), make("div", "code text", one.text));
  return inside;
}

function folded(title, note, body) {
  const card = details(false);
  const summary = make("summary");
  summary.append(make("span", "title", title));
  if (note) summary.append(make("span", "quiet small", note));
  body.classList.add("inside");
  card.append(summary, body);
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

function long(text, className, limit) {
  const holder = make("div");
  const body = make("div", className, text);
  holder.append(body);
  if (text && (text.length > limit || text.split("\n").length > Math.max(6, limit / 70))) {
    body.classList.add("folded");
    if (limit > 1000) body.classList.add("tall");
    const all = `Show all (${text.length.toLocaleString("en")} characters)`;
    const more = make("button", "more", all);
    more.type = "button";
    more.onclick = () => {
      more.textContent = body.classList.toggle("folded") ? all : "Show less";
    };
    holder.append(more);
  }
  return holder;
}

function count(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
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
  if (text) {
    write(element, text);
    element.dir = "auto"; // Arabic and Hebrew read from the right, and no text turns its neighbours around
  }
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
