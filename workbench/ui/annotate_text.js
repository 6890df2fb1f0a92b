// What the annotation card is made of: elements, guidelines, word diff. Loaded in front of annotate_card.js.

function named(question, value) {
  const option = (question.options || []).find((each) => each.value === value);
  return option ? option.title : "";
}

function make(tag, { name = "", text = "" } = {}) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

function fold(title, text, { open = false, source = "" } = {}) {
  const box = make("details", { name: "fold" });
  box.open = open;
  const summary = make("summary", { text: title });
  if (source) summary.append(make("span", { name: "source", text: ` ${source}` }));
  box.append(summary, make("div", { name: "text", text }));
  return box;
}

// The little of Markdown that guidelines use: headings, lists, tables, bold and code. Built as elements, never as HTML.
function prose(text) {
  const blocks = [];
  let list = null;
  let table = null;
  let lines = [];
  const close = () => {
    if (lines.length) blocks.push(inline(make("p"), lines.join(" ")));
    [list, table, lines] = [null, null, []];
  };
  for (const line of text.split("\n")) {
    const heading = line.match(/^#{1,4}\s+(.*)/);
    const item = line.match(/^\s*(?:([-*])|\d+[.)])\s+(.*)/);
    if (heading) {
      close();
      blocks.push(inline(make("h4"), heading[1]));
    } else if (line.trim().startsWith("|")) {
      const cells = line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
      if (cells.every((cell) => /^:?-+:?$/.test(cell))) continue;
      if (!table) {
        close();
        table = make("table");
        blocks.push(table);
      }
      const row = make("tr");
      row.append(...cells.map((cell) => inline(make(table.rows.length ? "td" : "th"), cell)));
      table.append(row);
    } else if (item) {
      if (!list) {
        close();
        list = make(item[1] ? "ul" : "ol");
        blocks.push(list);
      }
      list.append(inline(make("li"), item[2]));
    } else if (list && /^\s+\S/.test(line)) inline(list.lastElementChild, ` ${line.trim()}`);
    else if (!line.trim()) close();
    else {
      if (list || table) close();
      lines.push(line.trim());
    }
  }
  close();
  return blocks;
}

function inline(element, text) {
  for (const part of text.split(/(\*\*[^*]+\*\*|`[^`]+`)/)) {
    if (part.startsWith("**") && part.length > 4) element.append(make("b", { text: part.slice(2, -2) }));
    else if (part.startsWith("`") && part.length > 2) element.append(make("code", { text: part.slice(1, -1) }));
    else element.append(part);
  }
  return element;
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Words and the spaces between them, with what was taken out (del), put in (ins) or kept (span).
function wordDiff(before, after) {
  const a = before.split(/(\s+)/).filter(Boolean);
  const b = after.split(/(\s+)/).filter(Boolean);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const x = a.slice(start, a.length - end);
  const y = b.slice(start, b.length - end);
  const parts = [["span", a.slice(0, start).join("")]];
  if (x.length * y.length > 1_000_000) parts.push(["del", x.join("")], ["ins", y.join("")]);
  else parts.push(...longestCommon(x, y));
  parts.push(["span", end ? a.slice(-end).join("") : ""]);
  const merged = [];
  for (const [kind, text] of parts) {
    if (!text) continue;
    const last = merged[merged.length - 1];
    if (last && last[0] === kind) last[1] += text;
    else merged.push([kind, text]);
  }
  return merged;
}

function longestCommon(x, y) {
  const width = y.length + 1;
  const best = new Uint32Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i--)
    for (let j = y.length - 1; j >= 0; j--)
      best[i * width + j] = x[i] === y[j] ? best[(i + 1) * width + j + 1] + 1
        : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
  const parts = [];
  let i = 0;
  let j = 0;
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      parts.push(["span", x[i]]);
      i++;
      j++;
    } else if (i < x.length && (j >= y.length || best[(i + 1) * width + j] >= best[i * width + j + 1])) parts.push(["del", x[i++]]);
    else parts.push(["ins", y[j++]]);
  }
  return parts;
}
