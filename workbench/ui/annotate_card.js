// The annotation card: one item, its questions, every act by keyboard.
//
// Each act waits in `outbox` until the server names it in `data.acked`; the outbox is also kept in sessionStorage, so that a
// refresh or a lost connection neither loses nor doubles an act (its id makes it happen once). Text from outside reaches the
// page through textContent only.

const SAVE_AFTER_MS = 400;
const TOUCH_EVERY_MS = 4 * 60 * 1000;
const IDLE_AFTER_MS = 60 * 1000;
const WAITING_TOO_LONG_MS = 6000;
const RESERVED = new Set(["e", "s", "f", "u", "g", "w", "y", "c", "r"]); // acts of the card, and keys Streamlit keeps for itself
const FLAG_KEYS = ["6", "7", "8", "9", "0", "-", "="];
const MAC = /mac|iphone|ipad/i.test(navigator.platform || "");
const instances = new WeakMap();

export default function annotate(component) {
  const { parentElement } = component;
  let card = instances.get(parentElement);
  if (!card) {
    card = new Card(parentElement);
    instances.set(parentElement, card);
  }
  card.update(component);
  return () => {
    card.leave();
    instances.delete(parentElement);
  };
}

class Card {
  constructor(root) {
    this.root = root;
    this.item = null;
    this.values = {};
    this.outbox = [];
    this.pressed = [];
    this.busy = false;
    this.dirty = false;
    this.active = 0;
    this.lastInput = Date.now();
    this.el = (id) => root.querySelector(`#${id}`);
    this.el("modkey").textContent = MAC ? "⌘ ↵" : "Ctrl ↵";
    this.bind();
  }

  bind() {
    this.onKey = (event) => this.key(event);
    this.onHide = () => this.flush();
    this.onInput = () => (this.lastInput = Date.now());
    this.onResize = () => this.fit();
    window.addEventListener("resize", this.onResize);
    document.addEventListener("keydown", this.onKey, true);
    document.addEventListener("visibilitychange", this.onHide);
    window.addEventListener("pagehide", this.onHide);
    for (const name of ["pointerdown", "pointermove", "keydown", "wheel"])
      document.addEventListener(name, this.onInput, { passive: true, capture: true });
    this.clock = setInterval(() => this.tick(), 1000);
    this.touched = Date.now();
    this.el("ask").onclick = () => this.askLive();
    this.el("submit").onclick = () => this.submit();
    this.el("skip").onclick = () => this.act("skip");
    this.el("flag").onclick = () => this.openFlag();
    this.el("undo").onclick = () => this.undo();
    this.el("done-undo").onclick = () => this.undo();
    this.el("help").onclick = () => this.help();
    this.el("keysclose").onclick = () => this.el("keys").close();
    this.el("flagcancel").onclick = () => this.closeFlag();
    this.el("flagform").onsubmit = (event) => {
      event.preventDefault();
      const reason = this.el("flagreason").value.trim();
      if (!reason) return this.alert("Say in a few words what is wrong with the item.");
      this.closeFlag();
      this.act("flag", { reason });
    };
    this.el("consent").onchange = () => this.changed();
  }

  leave() {
    this.flush();
    clearInterval(this.clock);
    clearTimeout(this.timer);
    document.removeEventListener("keydown", this.onKey, true);
    document.removeEventListener("visibilitychange", this.onHide);
    window.removeEventListener("pagehide", this.onHide);
    window.removeEventListener("resize", this.onResize);
    for (const name of ["pointerdown", "pointermove", "keydown", "wheel"])
      document.removeEventListener(name, this.onInput, { capture: true });
  }

  // ── what the server says ────────────────────────────────────────────────────────────────────────────────────────

  update(component) {
    this.send = component.setStateValue;
    const data = component.data;
    this.data = data;
    if (this.person !== data.person) {
      // What another person left unsent in this tab is theirs: it is neither shown nor sent under this name.
      this.person = data.person;
      this.outbox = this.stashed("outbox") || [];
    }
    const acked = new Set(data.acked || []);
    this.outbox = this.outbox.filter((act) => !acked.has(act.id));
    this.stash("outbox", this.outbox);
    const failure = (data.failures || []).filter((each) => acked.has(each.id) && each.id !== this.shownFailure).pop();
    const next = data.item;
    const other = (next && next.id) !== (this.item && this.item.id) || (next && next.turn !== this.item.turn);
    if (other || !this.shownOnce) this.show(next);
    else if (JSON.stringify(data.suggestions) !== this.proposals)
      for (const question of data.questions) {
        const box = this.el(`proposed-${question.name}`);
        if (box) box.replaceChildren(...this.suggestions(question));
      }
    this.proposals = JSON.stringify(data.suggestions);
    this.fit();
    if (!this.outbox.some((act) => !["draft", "touch", "ask"].includes(act.kind))) this.setBusy(false);
    const asking = this.outbox.some((act) => act.kind === "ask");
    this.el("ask").disabled = asking;
    this.el("asking").textContent = asking ? "Asking; this takes some seconds…" : "";
    this.bar();
    if (failure) {
      this.shownFailure = failure.id;
      this.alert(failure.text);
      this.pressed = [];
      this.unsaved = failure.kind !== "ask";
      if (!["draft", "touch", "ask"].includes(failure.kind) && this.item && this.item.id === failure.item) this.changed();
    } else if (data.notice && data.notice !== this.shownNotice) this.alert(data.notice);
    this.shownNotice = data.notice;
    if (this.outbox.length && !this.sent) this.push(); // left over from before a refresh
    this.sent = true;
    if (!this.busy) this.replay();
  }

  show(item) {
    const first = this.item === null && !this.shownOnce;
    this.item = item;
    this.shownOnce = true;
    this.dirty = false;
    clearTimeout(this.timer);
    this.el("card").hidden = !item;
    this.el("done").hidden = Boolean(item);
    this.alert("");
    this.closeFlag(true);
    if (!item) {
      this.el("done-title").textContent = this.data.done_title || "";
      this.el("done-text").textContent = this.data.done_text || "";
      return;
    }
    this.values = { ...item.values };
    this.active = item.seconds || 0;
    const underway = this.outbox.filter((act) => act.kind === "draft" && act.item === item.id).pop();
    if (underway) this.values = { ...underway.values };
    const kept = this.stashed(`draft.${item.id}`);
    if (kept && kept.turn === item.turn) {
      this.values = kept.values;
      this.dirty = true;
    }
    this.unsaved = false;
    this.el("consent").checked = item.consent;
    this.read(item);
    this.ask();
    this.el("read").scrollTop = 0;
    if (!first) this.el("card").focus({ preventScroll: true });
    if (this.dirty) this.schedule();
  }

  // Both panes end at the window's lower edge, so that the acts are always in sight.
  fit() {
    const panes = this.root.querySelector(".panes");
    const top = panes.getBoundingClientRect().top + (document.scrollingElement ? document.scrollingElement.scrollTop : 0);
    panes.style.setProperty("--room", `${Math.max(440, window.innerHeight - Math.max(top, 120) - 28)}px`);
  }

  bar() {
    const { progress, others, today, can_undo } = this.data;
    if (!progress) return;
    this.el("progress-text").textContent = `${progress.done} of ${progress.total} in this queue`;
    this.el("fill").style.width = progress.total ? `${(100 * progress.done) / progress.total}%` : "0";
    this.el("others").textContent = others.length
      ? `${others.join(", ")} also work${others.length === 1 ? "s" : ""} here` : "";
    this.el("today").textContent = `${today} by you today`;
    this.el("undo").disabled = !can_undo;
    this.el("done-undo").hidden = !can_undo;
    this.saved();
  }

  saved() {
    const box = this.el("saved");
    const oldest = this.outbox.length ? Date.now() - this.outbox[0].at : 0;
    let text = "";
    let kind = "saved";
    if (oldest > WAITING_TOO_LONG_MS) {
      kind = "saved lost";
      text = "Not saved yet. It is kept here and sent again.";
    } else if (this.dirty || this.outbox.length) {
      kind = "saved waiting";
      text = "Saving…";
    } else if (this.unsaved) {
      kind = "saved lost";
      text = "Not saved: see the message";
    } else if (this.data.saved_at) text = `Saved ${new Date(this.data.saved_at).toLocaleTimeString()}`;
    else text = "Nothing to save yet";
    if (box.textContent !== text) box.textContent = text;
    box.className = kind;
  }

  // ── reading side ────────────────────────────────────────────────────────────────────────────────────────────────

  read(item) {
    const meta = this.el("meta");
    meta.replaceChildren(...item.meta.map(([name, value]) => make("span", { text: `${name} ${value}` })));
    const link = make("a", { text: "Open the trace" });
    link.href = item.link;
    link.target = "_blank";
    meta.append(link);
    const turns = item.turns.map((turn) => {
      if (turn.folded) return fold(turn.who, turn.text);
      const box = make("div", { name: `turn ${turn.kind}` });
      box.append(make("div", { name: "who", text: turn.who }), make("div", { name: "text", text: turn.text }));
      return box;
    });
    this.el("conversation").replaceChildren(...turns);
    this.el("feedback").replaceChildren(...item.feedback.map((each) => fold(each.title, each.text, { open: true })));
    const documents = item.documents.map((each, index) =>
      fold(each.title, each.text, { open: index < 2, source: each.source }));
    this.el("documents").replaceChildren(
      make("h4", { text: documents.length ? `Retrieved documents (${documents.length})` : "No documents were retrieved" }),
      ...documents,
    );
    const tools = item.tools.map((each) => fold(each.title, each.text, { source: each.source }));
    this.el("tools").replaceChildren(...(tools.length ? [make("h4", { text: "Tool calls" }), ...tools] : []));
    this.el("guidelines").replaceChildren(...prose(this.data.guidelines || "This queue has no guidelines yet."));
  }

  // ── questions ───────────────────────────────────────────────────────────────────────────────────────────────────

  ask() {
    this.keys = new Map(); // key → { does, run }
    this.letters = new Set();
    const boxes = this.data.questions.map((question) => this.question(question));
    this.el("questions").replaceChildren(...boxes);
    this.el("questions").scrollTop = 0;
    this.diff();
    this.meaning();
  }

  // What the chosen number means; before a choice, what the ends of the scale mean.
  meaning() {
    for (const question of this.data.questions) {
      const box = this.el(`meaning-${question.name}`);
      if (!box) continue;
      const value = this.values[question.name];
      const ends = [question.lowest, question.highest].map((end) => `${end} ${named(question, end)}`).join(", ");
      box.textContent = value === undefined ? ends : `${value} ${named(question, value)}`;
    }
  }

  question(question) {
    if (question.kind === "text") return this.text(question);
    const box = make("fieldset", { name: `ask-${question.kind}` });
    const legend = make("legend", { text: question.title });
    if (question.required) legend.append(make("span", { name: "required", text: " required" }));
    box.append(legend);
    if (question.help) box.append(make("p", { name: "hint", text: question.help }));
    const row = make("div", { name: "options" });
    for (const option of this.optionsOf(question)) row.append(this.option(question, option));
    box.append(row);
    if (question.kind === "rating" && (question.options || []).length) {
      const meaning = make("p", { name: "hint meaning" });
      meaning.id = `meaning-${question.name}`;
      box.append(meaning);
    }
    box.append(this.proposed(question));
    return box;
  }

  optionsOf(question) {
    if (question.kind === "rating") {
      const values = [];
      for (let value = question.lowest; value <= question.highest; value++)
        values.push({ value, text: String(value), key: value <= 9 ? String(value) : null, more: named(question, value) });
      return values;
    }
    return question.options.map((option, index) => ({
      value: option.value,
      text: option.title || option.value,
      key: question.kind === "multilabel" ? FLAG_KEYS[index] : this.letter(option.title || option.value),
      more: option.description || "",
    }));
  }

  // A letter of the name that no other label has; else any free one.
  letter(name) {
    const wanted = [...name.toLowerCase(), ..."abdhijklmnopqtvwxz"];
    const free = wanted.find((each) => /[a-z]/.test(each) && !RESERVED.has(each) && !this.letters.has(each)) || null;
    if (free) this.letters.add(free);
    return free;
  }

  option(question, { value, text, key, more }) {
    const many = question.kind === "multilabel";
    const label = make("label", { name: "option" });
    const input = make("input");
    input.type = many ? "checkbox" : "radio";
    input.name = question.name;
    input.value = String(value);
    input.checked = many ? (this.values[question.name] || []).includes(value) : this.values[question.name] === value;
    input.setAttribute("aria-keyshortcuts", key || "");
    const choose = () => {
      if (many) {
        const others = (this.values[question.name] || []).filter((each) => each !== value);
        this.set(question.name, input.checked ? [...others, value] : others);
      } else this.set(question.name, value);
    };
    input.onchange = choose;
    if (key && !this.keys.has(key)) {
      const run = () => {
        input.checked = many ? !input.checked : true;
        choose();
      };
      this.keys.set(key, { group: question.title, does: more && question.kind === "rating" ? more : text, run });
      label.append(input, make("kbd", { text: key.toUpperCase() }));
      if (question.kind !== "rating") label.append(make("span", { text }));
    } else label.append(input, make("span", { text }));
    input.setAttribute("aria-label", more && question.kind === "rating" ? `${text}, ${more}` : text);
    if (more) label.title = more;
    return label;
  }

  text(question) {
    const box = make("fieldset", { name: "textquestion" });
    const head = make("div", { name: "rewritehead" });
    const label = make("label", { name: "title", text: question.title });
    label.htmlFor = `text-${question.name}`;
    head.append(label);
    const area = make("textarea");
    area.id = `text-${question.name}`;
    area.maxLength = 20000;
    area.value = this.values[question.name] || "";
    area.oninput = () => this.set(question.name, area.value);
    box.append(head);
    if (question.help) box.append(make("p", { name: "hint", text: question.help }));
    box.append(area);
    if (question.name === "rewrite") {
      area.placeholder = "Write the answer as it should have been. E starts from the original.";
      const start = make("button", { name: "link", text: "Start from the answer" });
      start.type = "button";
      start.append(" ", make("kbd", { text: "E" }));
      start.onclick = () => this.edit();
      head.append(start);
      const diff = make("div", { name: "diff text" });
      diff.id = "diff";
      diff.setAttribute("aria-label", "Changes against the answer");
      box.append(diff);
    }
    box.append(this.proposed(question));
    return box;
  }

  proposed(question) {
    const box = make("div");
    box.id = `proposed-${question.name}`;
    box.append(...this.suggestions(question));
    return box;
  }

  suggestions(question) {
    return (this.data.suggestions[question.name] || []).map((each, index) => {
      const box = make("div", { name: "suggested" });
      const sure = each.score === null ? "" : `, ${Math.round(each.score * 100)}% sure`;
      box.append(make("span", { name: "quiet", text: `Suggested by ${each.agent}${sure}:` }));
      const known = (question.options || []).find((option) => option.value === each.value);
      const use = make("button", { name: "link", text: question.kind === "text" ? "use this text" : known ? known.title : String(each.value) });
      use.type = "button";
      const run = () => {
        this.set(question.name, each.value);
        this.ask();
      };
      use.onclick = run;
      if (index === 0 && question.kind === "label" && !this.keys.has("y")) {
        this.keys.set("y", { group: question.title, does: "Take the first suggestion", run });
        use.append(" ", make("kbd", { text: "Y" }));
      }
      box.append(use);
      if (question.kind === "text") box.append(make("div", { name: "text", text: each.value }));
      return box;
    });
  }

  set(name, value) {
    const empty = value === "" || (Array.isArray(value) && !value.length);
    if (empty) delete this.values[name];
    else this.values[name] = value;
    this.alert("");
    if (name === "rewrite") this.diff();
    this.meaning();
    this.changed();
  }

  edit() {
    const area = this.el("text-rewrite");
    if (!area) return;
    if (!area.value) {
      area.value = this.item.answer;
      this.set("rewrite", area.value);
    }
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  diff() {
    const box = this.el("diff");
    if (!box) return;
    const rewrite = this.values.rewrite || "";
    box.hidden = !rewrite;
    if (!rewrite) return;
    if (rewrite.trim() === this.item.answer.trim()) {
      box.textContent = "No change yet: this is the answer as it was, and it is not stored as a rewrite.";
      return;
    }
    box.replaceChildren(...wordDiff(this.item.answer, rewrite).map(([kind, text]) => make(kind, { text })));
  }

  // What is not acknowledged yet survives a refresh of this tab; it is dropped once the database has it.
  stashed(name) {
    try {
      return JSON.parse(sessionStorage.getItem(`workbench.annotate.${this.person}.${name}`));
    } catch {
      return null;
    }
  }

  stash(name, value) {
    const key = `workbench.annotate.${this.person}.${name}`;
    try {
      if (value === null || value.length === 0) sessionStorage.removeItem(key);
      else sessionStorage.setItem(key, JSON.stringify(value));
    } catch {
      // Storage is full or forbidden: the database still gets every act.
    }
  }

  // ── acts ────────────────────────────────────────────────────────────────────────────────────────────────────────

  changed() {
    this.dirty = true;
    this.unsaved = false;
    this.stash(`draft.${this.item.id}`, { values: this.values, turn: this.item.turn });
    this.saved();
    this.schedule();
  }

  schedule() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), SAVE_AFTER_MS);
  }

  flush() {
    clearTimeout(this.timer);
    if (this.dirty && this.item && !this.busy) this.queue("draft");
  }

  answers() {
    const values = { ...this.values };
    if ("rewrite" in values && values.rewrite.trim() === this.item.answer.trim()) delete values.rewrite;
    return values;
  }

  queue(kind, more = {}) {
    const act = { id: newId(), kind, at: Date.now(), queue: this.data.queue, ...more };
    if (this.item) {
      act.item = this.item.id;
      act.seconds = Math.round(this.active * 10) / 10;
      act.consent = this.el("consent").checked;
      act.values = kind === "draft" ? { ...this.values } : this.answers();
      this.dirty = false;
    }
    // A newer draft of the same item stands for an older one that is still waiting.
    if (kind === "draft") this.outbox = this.outbox.filter((each) => each.kind !== "draft" || each.item !== act.item || each.sent);
    this.outbox.push(act);
    if (this.item) this.stash(`draft.${this.item.id}`, null);
    this.stash("outbox", this.outbox);
    this.push();
    this.saved();
  }

  push() {
    for (const act of this.outbox) {
      act.sent = true;
      act.tries = (act.tries || 0) + 1; // a repeated value would not reach the server
    }
    this.send("acts", this.outbox.map((act) => ({ ...act })));
  }

  act(kind, more = {}) {
    if (!this.item || this.busy) return;
    clearTimeout(this.timer);
    this.queue(kind, more);
    this.setBusy(true);
  }

  submit() {
    if (!this.item || this.busy) return;
    const values = this.answers();
    const open = this.data.questions.filter((question) => question.required && !(question.name in values));
    if (open.length) {
      this.alert(`Not submitted yet. Still open: ${open.map((question) => question.title).join(" ")}`);
      const input = this.root.querySelector(`input[name="${open[0].name}"], #text-${open[0].name}`);
      if (input) input.focus();
      return;
    }
    if (!Object.keys(values).length) return this.alert("Nothing is answered yet. Answer a question, or skip the item.");
    this.act("submit");
  }

  undo() {
    if (this.busy || !this.data.can_undo) return;
    this.flush();
    this.queue("undo");
    this.setBusy(true);
  }

  askLive() {
    if (!this.item || this.busy || this.el("ask").disabled) return;
    this.flush();
    this.queue("ask");
    this.el("ask").disabled = true;
    this.el("asking").textContent = "Asking; this takes some seconds…";
  }

  openFlag() {
    if (!this.item || this.busy) return;
    this.el("flagform").hidden = false;
    this.el("flagreason").focus();
  }

  closeFlag(clear = true) {
    this.el("flagform").hidden = true;
    if (clear) this.el("flagreason").value = "";
    if (this.item) this.el("card").focus({ preventScroll: true });
  }

  setBusy(busy) {
    this.busy = busy;
    this.el("card").classList.toggle("busy", busy);
    this.el("card").setAttribute("aria-busy", String(busy));
    for (const id of ["submit", "skip", "flag"]) this.el(id).disabled = busy;
    this.el("undo").disabled = busy || !this.data.can_undo;
  }

  alert(text) {
    const box = this.el("alert");
    box.textContent = text;
    box.hidden = !text;
  }

  tick() {
    if (!this.data) return;
    const idle = Date.now() - this.lastInput > IDLE_AFTER_MS;
    if (this.item && document.visibilityState === "visible" && !idle) this.active += 1;
    this.saved();
    if (this.item && !idle && Date.now() - this.touched > TOUCH_EVERY_MS && !this.outbox.length && !this.dirty) {
      this.touched = Date.now();
      this.queue("touch");
    }
    if (this.outbox.length && Date.now() - this.outbox[0].at > WAITING_TOO_LONG_MS && Date.now() % 5000 < 1000) this.push();
  }

  // ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────

  key(event) {
    const target = event.composedPath()[0];
    const inside = event.composedPath().includes(this.root) || event.composedPath().includes(this.root.host);
    const typing = target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && !["radio", "checkbox", "button"].includes(target.type)) || target.isContentEditable;
    if (document.querySelector('[role="dialog"]')) return;
    if (event.key === "Escape" && typing && inside && !event.isComposing) {
      if (!this.el("flagform").hidden) this.closeFlag();
      else this.el("card").focus({ preventScroll: true });
      return;
    }
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && (inside || !typing)) {
      event.preventDefault();
      return this.press("submit");
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || this.el("keys").open) return;
    // Keys on other widgets of the page stay theirs.
    const onPage = target === document.body || target === document.documentElement || inside;
    if (!onPage && target.closest && target.closest('button, a, select, [role="combobox"], [role="tab"], [role="listbox"]')) {
      if (["Enter", " ", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    }
    const key = event.key.toLowerCase();
    if (!"sfuegw?".includes(key) && !(this.keys && this.keys.has(key))) return;
    if (event.repeat) return;
    event.preventDefault();
    event.stopPropagation();
    this.press(key);
  }

  // Keys pressed while an act is on its way belong to the item that comes next.
  press(key) {
    if (this.busy) {
      this.pressed.push(key);
      return;
    }
    if (key === "submit") this.submit();
    else if (key === "s") this.act("skip");
    else if (key === "f") this.openFlag();
    else if (key === "u") this.undo();
    else if (key === "e") this.edit();
    else if (key === "w") this.askLive();
    else if (key === "g") this.guidelines();
    else if (key === "?") this.help();
    else if (this.item && this.keys && this.keys.has(key)) this.keys.get(key).run();
  }

  replay() {
    while (this.pressed.length && !this.busy) this.press(this.pressed.shift());
  }

  guidelines() {
    const box = this.el("guidelines-box");
    box.open = !box.open;
    if (box.open) box.scrollIntoView({ block: "nearest" });
  }

  help() {
    const acts = [
      [MAC ? "⌘ ↵" : "Ctrl ↵", "Submit and go on, also while writing"],
      ["E", "Rewrite the answer"],
      ["S", "Skip"],
      ["F", "Flag with a reason"],
      ["U", "Undo my last submit, skip or flag"],
      ["G", "Guidelines"],
      ["W", "What would the live release say?"],
      ["Esc", "Leave the text, close this"],
    ];
    const groups = new Map([["Acts", acts]]);
    for (const [key, { group, does }] of this.keys || []) groups.set(group, [...(groups.get(group) || []), [key.toUpperCase(), does]]);
    const boxes = [...groups].map(([title, rows]) => {
      const box = make("section");
      const list = make("dl");
      for (const [key, does] of rows) {
        const term = make("dt");
        term.append(make("kbd", { text: key }));
        list.append(term, make("dd", { text: does }));
      }
      box.append(make("h4", { text: title }), list);
      return box;
    });
    this.el("keylist").replaceChildren(...boxes);
    this.el("keys").showModal();
  }
}
