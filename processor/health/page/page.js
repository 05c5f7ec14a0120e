// The page of a node. All that it shows comes as text from status.json and application.json, and goes
// into the page as text: names of topics and steps, and errors, may hold anything.

const SVG = "http://www.w3.org/2000/svg";
const EVERY = 1000; // ms between two looks
const PATIENCE = 5000; // ms for an answer
const REMEMBERED = 120; // points of a curve
const SHORTEST = 30;
const UNKNOWN = "–";

const byId = (id) => document.getElementById(id);
const shown = new Map(); // what each part of the page was made of last
const curves = { rate: [], lag: [] };
let fixed = null;
let answered = 0;

// Making elements

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

// Rebuilds a part of the page if what it shows has changed.
function part(id, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  make();
}

// Numbers and times in words

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (value) => (value === null || value === undefined ? UNKNOWN : whole.format(value));
const brief = (value) =>
  (value ?? 0) < 10000 ? count(value) : short.format(value).replace("K", "k");
const percent = (share) => `${(100 * share).toFixed(share < 0.1 && share > 0 ? 1 : 0)} %`;

function span(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * length) return `${(seconds / length).toFixed(0)} ${unit}`;
  }
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

function bytes(size) {
  for (const [unit, length] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (size >= length) return `${(size / length).toFixed(1)} ${unit}`;
  }
  return `${size} B`;
}

const ago = (seconds) => (seconds < 0.5 ? "just now" : `${span(seconds)} ago`);

const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

const TONES = {
  good: ["running", "ready", "live"],
  fair: ["starting", "restoring", "waiting", "adopting", "leaving", "stopping"],
  bad: ["dead", "gone", "silent", "crashed", "deprived", "stuck", "nobody's"],
};

function pill(state) {
  const tone = Object.keys(TONES).find((each) => TONES[each].includes(state)) ?? "";
  return element("span", { class: `pill ${tone}` }, state);
}

// Tables: columns are [heading, class, cell of a row]

function table(id, rows, columns, none) {
  part(id, rows, () => {
    const head = element("tr", {}, ...columns.map(([name, kind]) => element("th", { class: kind, scope: "col" }, name)));
    const body = rows.map((row) =>
      element("tr", {}, ...columns.map(([, kind, cell]) => element("td", { class: kind }, ...[cell(row)].flat()))),
    );
    const where = document.querySelector(`#${id} table`);
    if (rows.length) where.replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
    else where.replaceChildren(element("tbody", {}, element("tr", {}, element("td", { class: "dim" }, none))));
  });
}

function meter(share) {
  const made = element("meter", { min: 0, max: 1, high: 0.9, "aria-hidden": "true" });
  made.value = share;
  return made;
}

function busy(worker) {
  return worker.state in { dead: 0, gone: 0, left: 0 } ? UNKNOWN : [percent(worker.busy), meter(worker.busy)];
}

function restoring(restore) {
  if (!restore) return "";
  const downloads = restore.downloaded < restore.to_download;
  const [done, all] = downloads
    ? [restore.downloaded, restore.to_download]
    : [restore.records, Math.max(restore.total, 1)];
  const rate = done / Math.max(restore.seconds, 0.001);
  const left = rate > 0 ? `${span((all - done) / rate)} left` : "";
  const what = downloads ? `${bytes(done)} of ${bytes(all)}` : `${brief(done)} of ${brief(all)} records`;
  const bar = element("progress", { max: all, "aria-label": "restored" });
  bar.value = done;
  return [bar, [what, left].filter(Boolean).join(", ")];
}

function names(workers) {
  if (!workers.length) return element("span", { class: "dim" }, "none");
  return workers.map((each) =>
    element("span", {}, pill(each.state), each.name, each.lag ? `, ${brief(each.lag)} behind ` : " "),
  );
}

function trouble(slot) {
  const worker = slot.primary;
  if (!worker) return element("span", { class: "pill bad" }, "nobody has it");
  if (worker.stuck) return `${worker.stuck}, for ${span(worker.turn_age)}`;
  return [worker.withheld, ...worker.held].filter(Boolean).join("; ");
}

// The parts of the page

function header(status) {
  const waits = status.unsettled ? ["fair", status.unsettled] : ["good", "healthy"];
  const [tone, text] = status.healthy ? waits : ["bad", "unhealthy"];
  byId("health").className = `pill ${tone}`;
  byId("health").textContent = text;
  const me = status.nodes.find((each) => each.node === status.node);
  const facts = [fixed.guarantee, `node ${me ? me.name : status.node}`, `up ${span(status.uptime)}`];
  byId("facts").textContent = facts.join(" · ");
  document.title = `${status.healthy ? "" : "⚠ "}${status.application} · kproc`;
}

function problems(found) {
  byId("problems").hidden = !found.length;
  part("problems", found, () => {
    const made = found.map((each) =>
      element(
        "div",
        { class: `problem ${each.level === "error" ? "bad" : "fair"}` },
        element("b", {}, each.what),
        element("span", {}, each.advice),
      ),
    );
    byId("problems").replaceChildren(...made);
  });
}

function curve(points) {
  const most = Math.max(...points, 1);
  const wide = Math.max(points.length, SHORTEST);
  const at = (value, number) => `${(100 * number) / (wide - 1)} ${38 - (36 * value) / most}`;
  const path = points.map((value, number) => at(value, wide - points.length + number)).join("L");
  const view = { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" };
  return drawn("svg", view, drawn("path", { d: `M${path}` }));
}

function tile(name, value, more, { points = null, alarm = false } = {}) {
  const text = element("dd", {}, value, element("small", {}, more));
  return element(
    "dl",
    { class: `tile${alarm ? " alarm" : ""}` },
    element("dt", {}, name),
    text,
    points && points.length > 1 ? curve(points) : null,
  );
}

function remember(points, value) {
  points.push(value ?? 0);
  if (points.length > REMEMBERED) points.shift();
}

function totals(status) {
  const all = status.totals;
  const primaries = status.slots.map((each) => each.primary).filter(Boolean);
  const rate = primaries.reduce((sum, each) => sum + each.rate, 0);
  const known = primaries.map((each) => each.lag).filter((each) => each !== null && each !== undefined);
  const lag = known.length ? known.reduce((sum, each) => sum + each, 0) : null;
  remember(curves.rate, rate);
  remember(curves.lag, lag);
  const working = status.workers.filter((each) => each.role === "primary");
  const took = working.map((each) => each.checkpoint_seconds).filter((each) => each !== null);
  const ages = working.map((each) => each.checkpoint_age).filter((each) => each !== null);
  const commit = took.length ? `${span(Math.max(...took))} each` : "";
  const age = ages.length ? `the last ${ago(Math.max(...ages))}` : "none yet";
  byId("totals").replaceChildren(
    tile("Records a second", brief(rate), "all nodes", { points: curves.rate }),
    tile("Lag", brief(lag), "records, all nodes", { points: curves.lag }),
    tile("Checkpoints a second", all.checkpoints_per_second.toFixed(1), [commit, age].filter(Boolean).join(", ")),
    tile("Records so far", brief(all.records), "this node"),
    tile("Bad records", brief(all.bad_records), "this node", { alarm: all.bad_records > 0 }),
    tile("Late records", brief(all.late_records), "this node"),
    tile("Restarts", count(all.restarts), "workers of this node", { alarm: all.restarts > 0 }),
  );
}

function tables(status) {
  const working = (slot) => slot.live || slot.primary?.state === "deprived";
  table("slots", status.slots, [
    ["Slot", "number", (each) => String(each.slot)],
    ["State", "", (each) => pill(each.primary?.state ?? "nobody's")],
    ["Primary", "", (each) => each.primary?.name ?? UNKNOWN],
    ["Records/s", "number", (each) => (working(each) ? count(each.primary.rate) : UNKNOWN)],
    ["Lag", "number", (each) => (working(each) ? count(each.primary.lag) : UNKNOWN)],
    ["Busy", "number", (each) => (working(each) ? busy(each.primary) : UNKNOWN)],
    ["State on disk", "number", (each) => (each.primary ? bytes(each.primary.bytes) : UNKNOWN)],
    ["Backups", "", (each) => names(each.backups)],
    ["What holds it up", "text", trouble],
  ], "No slot is known yet.");
  const list = (slots) => slots.join(", ") || UNKNOWN;
  const nodes = status.nodes.map((each) => ({ ...each, heartbeat_age: Math.round(each.heartbeat_age) }));
  table("nodes", nodes, [
    ["Node", "", (each) => (each.node === status.node ? [each.name, " ", element("span", { class: "dim" }, "(this one)")] : each.name)],
    ["State", "", (each) => pill(each.state)],
    ["Zone", "", (each) => each.zone || UNKNOWN],
    ["Cores", "number", (each) => (each.cores ? String(each.cores) : UNKNOWN)],
    ["Primary of", "", (each) => list(each.primaries)],
    ["Backup of", "", (each) => list(each.backups)],
    ["Heartbeat", "number", (each) => (each.heartbeat_age < 2 ? "just now" : ago(each.heartbeat_age))],
  ], "No node is known yet.");
  table("workers", status.workers, [
    ["Slot", "number", (each) => String(each.slot)],
    ["Role", "", (each) => each.role],
    ["State", "", (each) => pill(each.state)],
    ["Records/s", "number", (each) => (each.role === "primary" ? count(each.records_per_second) : UNKNOWN)],
    ["Lag", "number", (each) => count(each.lag)],
    ["Partitions", "number", (each) => (each.role === "primary" ? count(each.partitions) : UNKNOWN)],
    ["Tasks", "number", (each) => (each.role === "primary" ? count(each.tasks) : UNKNOWN)],
    ["Checkpoints/s", "number", (each) => (each.role === "primary" ? each.checkpoints_per_second.toFixed(1) : UNKNOWN)],
    ["A commit takes", "number", (each) => span(each.checkpoint_seconds)],
    ["The last", "number", (each) => (each.checkpoint_age === null ? UNKNOWN : ago(each.checkpoint_age))],
    ["State", "number", (each) => bytes(each.state_bytes)],
    ["Restarts", "number", (each) => count(each.restarts)],
    ["Restore", "", (each) => restoring(each.restore)],
  ], "This node has no worker yet.");
  table("bad", status.bad_records, [
    ["Step", "text", (each) => each.step],
    ["Reason", "", (each) => each.reason],
    ["Records", "number", (each) => count(each.records)],
  ], "None.");
  table("late", status.late_records, [
    ["Step", "text", (each) => each.step],
    ["Late", "number", (each) => count(each.late)],
    ["Late for some windows", "number", (each) => count(each.partly)],
    ["Of", "number", (each) => count(each.judged)],
  ], "No step judges whether records are late.");
}

function events(found) {
  part("log", found, () => {
    const made = found.map((each) => {
      const where = each.slot === null ? each.kind : `slot ${each.slot}`;
      const said = each.slot === null || each.kind === "adoption" ? each.text : [each.kind, each.text].filter(Boolean).join(": ");
      const more = each.detail
        ? element("details", {}, element("summary", {}, said), element("pre", {}, each.detail))
        : element("span", {}, said);
      const time = element("time", { datetime: new Date(each.at).toISOString() }, clock(each.at));
      return element("li", {}, time, element("span", { class: each.level }, where), more);
    });
    byId("log").replaceChildren(...(made.length ? made : [element("li", { class: "dim" }, "Nothing has happened.")]));
  });
}

function settings() {
  const wanted = byId("find").value.trim().toLowerCase();
  const all = byId("all").checked;
  const fits = (each) => !wanted || `${each.name} ${each.value} ${each.description}`.toLowerCase().includes(wanted);
  const rows = fixed.settings.filter((each) => (wanted || all || each.origin !== "default") && fits(each));
  table("settings", rows, [
    ["Setting", "name", (each) => each.name],
    ["Value", "name text", (each) => each.value || UNKNOWN],
    ["From", "", (each) => each.origin],
    ["What it means", "dim text wide", (each) => each.description],
  ], wanted ? "No setting is like that." : "All settings are the defaults.");
}

// The drawing of the topology

const PAD = 14;
const LINE = 17;
const CAP = 6;
const SMALLEST = 0.62; // of its size, to which the drawing shrinks until it scrolls
const STEPS =
  "of steps the share of a slot's time. The rest of what it is busy with is decoding, state and waiting for Kafka.";
const figures = { topics: new Map(), steps: new Map(), lines: [] };

function outline(box) {
  const { kind, x, y, width, height } = box;
  if (kind === "step") return [drawn("rect", { class: kind, x, y, width, height, rx: 7 })];
  if (kind === "store") {
    const radius = width / 2;
    const side = height - 2 * CAP;
    const lid = `a${radius} ${CAP} 0 0 `;
    return [
      drawn("path", { class: kind, d: `M${x} ${y + CAP}v${side}${lid}0 ${width} 0v${-side}${lid}0 ${-width} 0z` }),
      drawn("path", { class: `${kind} rim`, d: `M${x} ${y + CAP}${lid}0 ${width} 0` }),
    ];
  }
  const body = width - 2 * CAP;
  const end = height / 2;
  const cap = `a${CAP} ${end} 0 0 `;
  return [
    drawn("path", { class: kind, d: `M${x + CAP} ${y}h${body}${cap}1 0 ${height}h${-body}${cap}1 0 ${-height}z` }),
    drawn("path", { class: `${kind} rim`, d: `M${x + CAP + body} ${y}${cap}0 0 ${height}` }),
  ];
}

function texts(box) {
  const isTopic = box.kind !== "step" && box.kind !== "store";
  const middle = box.x + box.width / 2 - (isTopic ? CAP : 0);
  const top = box.y + PAD / 2 + (box.kind === "store" ? 2 * CAP : 0);
  const named = box.lines.map((text) => [text, ""]);
  const small = box.small.map((text) => [text, box.kind === "step" && !box.lines.length ? "" : "small"]);
  const lines = box.kind === "step" ? [...small, ...named] : [...named, ...small];
  return lines.map(([text, style], row) =>
    drawn("text", { class: style, x: middle, y: top + row * LINE + LINE * 0.72 }, text),
  );
}

function boxed(box) {
  const group = drawn("g", {}, drawn("title", {}, box.title), ...outline(box), ...texts(box));
  if (box.kind === "store") {
    group.prepend(drawn("path", { class: "line", d: `M${box.x + box.width / 2} ${box.y - 10}v${10 + CAP}` }));
    return group;
  }
  const isTopic = box.kind !== "step";
  const middle = box.x + box.width / 2 - (isTopic ? CAP : 0);
  const figure = drawn("text", { class: "figure", x: middle, y: box.y + box.height - 11 });
  group.append(figure);
  if (isTopic) {
    figures.topics.set(box.topic, [...(figures.topics.get(box.topic) ?? []), { group, figure }]);
    return group;
  }
  const bar = { x: box.x + PAD, y: box.y + box.height - 8, height: 3, rx: 1.5 };
  const full = box.width - 2 * PAD;
  const share = drawn("rect", { class: "busy", width: 0, ...bar });
  group.append(drawn("rect", { class: "share", width: full, ...bar }), share);
  figures.steps.set(box.step, { group, figure, share, full });
  return group;
}

function arrow(line) {
  const points = line.points;
  let path = `M${points[0].join(" ")}`;
  for (let at = 1; at < points.length; at += 1) {
    const [[x1, y1], [x2, y2]] = [points[at - 1], points[at]];
    const bend = (x1 + x2) / 2;
    path += Math.abs(y1 - y2) < 0.05 ? `H${x2}` : `C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}`;
  }
  const [x, y] = points[points.length - 1];
  const made = drawn("path", { class: "line", d: path });
  figures.lines.push(made);
  const label = line.label ? drawn("text", { class: "label", x: x - 11, y: y - 5 }, line.label) : null;
  return drawn("g", {}, made, drawn("path", { class: "head", d: `M${x} ${y}l-8 -4.5v9z` }), label);
}

function draw(drawing) {
  const frames = drawing.frames.map((each) =>
    drawn(
      "g",
      {},
      drawn("rect", { class: "frame", x: each.x, y: each.y, width: each.width, height: each.height, rx: 12 }),
      drawn("text", { class: "part", x: each.x + 14, y: each.y + 22 }, `Subtopology ${each.part}`),
    ),
  );
  const [width, height] = [drawing.width + 4, drawing.height + 4];
  const svg = drawn(
    "svg",
    { viewBox: `-2 -2 ${width} ${height}`, role: "img", "aria-label": `Topology ${fixed.application}` },
    ...frames,
    ...drawing.lines.map(arrow),
    ...drawing.boxes.map(boxed),
  );
  svg.style.maxWidth = `${width}px`;
  byId("drawing").replaceChildren(svg);
  const zoom = () => {
    const full = byId("zoom").getAttribute("aria-pressed") === "true";
    svg.style.minWidth = `${full ? width : SMALLEST * width}px`;
  };
  byId("zoom").addEventListener("click", () => {
    byId("zoom").setAttribute("aria-pressed", byId("zoom").getAttribute("aria-pressed") !== "true");
    zoom();
  });
  zoom();
}

function live(status) {
  const primaries = status.workers.filter((each) => each.role === "primary").length;
  const many = status.slots.length;
  byId("scope").textContent =
    primaries === many
      ? `Of topics records a second and lag, ${STEPS}`
      : `Figures of the ${primaries} of ${many} slots that this node works on: of topics records a second and lag, ${STEPS}`;
  for (const each of status.topics) {
    for (const { group, figure } of figures.topics.get(each.topic) ?? []) {
      const lag = each.lag ? ` · lag ${brief(each.lag)}` : "";
      figure.textContent = `${brief(each.records_per_second)}/s${lag}`;
      group.setAttribute("class", each.lag > 10 * Math.max(each.records_per_second, 1) ? "alarm" : "");
    }
  }
  const most = Math.max(0, ...status.steps.filter((each) => figures.steps.has(each.step)).map((each) => each.busy));
  for (const each of status.steps) {
    const made = figures.steps.get(each.step);
    if (!made) continue;
    const slowest = each.busy === most && most > 0.01;
    made.figure.textContent = `${percent(each.busy)} busy${slowest ? " · slowest" : ""}`;
    made.share.setAttribute("width", made.full * each.busy);
    made.group.setAttribute("class", slowest ? "slowest" : "");
  }
  const moves = status.topics.some((each) => each.records_per_second > 0);
  for (const line of figures.lines) line.classList.toggle("flowing", moves);
}

// Asking

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `status ${answer.status}`);
  return answer.json();
}

function show(status) {
  header(status);
  problems(status.problems);
  totals(status);
  live(status);
  tables(status);
  events(status.events);
}

async function look() {
  try {
    if (fixed === null) {
      fixed = await ask("application.json");
      byId("application").textContent = fixed.application;
      byId("footer").textContent = `kproc ${fixed.version}`;
      draw(fixed.drawing);
      settings();
    }
    show(await ask("status.json"));
    answered = Date.now();
    byId("offline").hidden = true;
  } catch (error) {
    const since = answered ? ` since ${clock(answered)}; what is shown is of then` : "";
    byId("offline").textContent = `This node does not answer${since} (${error.message}).`;
    byId("offline").hidden = false;
    byId("health").className = "pill bad";
    byId("health").textContent = "no answer";
  }
}

async function loop() {
  if (!document.hidden) await look();
  setTimeout(loop, EVERY);
}

// Light and dark

const THEMES = ["system", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");
let theme = "system";

function themed() {
  const dark = theme === "dark" || (theme === "system" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").textContent = `Theme: ${theme}`;
}

function nextTheme() {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  localStorage.setItem("kproc-theme", theme);
  themed();
}

function press(event) {
  const typing = event.target instanceof HTMLInputElement;
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("find").focus();
  } else if (event.key === "t" || event.key === "T") {
    nextTheme();
  }
}

theme = THEMES.includes(localStorage.getItem("kproc-theme")) ? localStorage.getItem("kproc-theme") : "system";
system.addEventListener("change", themed);
byId("theme").addEventListener("click", nextTheme);
byId("find").addEventListener("input", () => fixed && settings());
byId("all").addEventListener("change", () => fixed && settings());
document.addEventListener("keydown", press);
document.addEventListener("visibilitychange", () => !document.hidden && look());
themed();
loop();
