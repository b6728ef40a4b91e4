// Asks for everything at once every two seconds while somebody looks, and draws what changed.
// Names and errors are untrusted: they become text, never markup.

import { Chart } from "./chart.js";
import { ago, bytes, clock, count, duration, percent, rate } from "./format.js";

const EVERY_MS = 2000;
const WAIT_MS = 15000;
const KEY = "aisquad-token";
const SIGNS = {
  pending: ["○", "quiet"],
  running: ["▶", "accent"],
  paused: ["‖", "warn"],
  completed: ["✓", "good"],
  partial: ["✗", "bad"],
  failed: ["✗", "bad"],
  lost: ["✗", "bad"],
  cancelled: ["–", "quiet"],
};

const by = (id) => document.getElementById(id);
const charts = {
  cpu: new Chart(by("cpu"), { title: "CPU", spell: (point) => percent(point.value) }),
  memory: new Chart(by("memory"), { title: "Memory", spell: (point) => percent(point.value) }),
  workers: new Chart(by("workers"), {
    title: "Workers",
    spell: (point) => `${round(point.other)} of ${round(point.value)}`,
    second: "running",
  }),
};

let token = takeToken();
let timer = null;
let asking = null;
let lost = null;
let answered = null;

// The link's token stands behind the `#`, which no server sees. It is kept for this tab alone.
function takeToken() {
  const given = location.hash.slice(1);
  if (/^[\w-]{32,}$/.test(given)) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

function round(value) {
  return String(Math.round(value * 10) / 10);
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function look(element, name) {
  if (element.className !== name) element.className = name;
}

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const request = new AbortController();
  asking = request;
  const limit = setTimeout(() => request.abort(), WAIT_MS);
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const response = await fetch(`/dashboard/data?time_range=${by("range").value}`, {
      headers,
      signal: request.signal,
    });
    if (response.status === 401) throw new Denied();
    if (!response.ok) throw new Error(`status ${response.status}`);
    const data = await response.json();
    if (asking !== request) return;
    lost = null;
    show(data);
  } catch (error) {
    if (asking !== request) return;
    away(error);
  } finally {
    clearTimeout(limit);
  }
  if (!document.hidden) timer = setTimeout(ask, EVERY_MS);
}

class Denied extends Error {}

function away(error) {
  lost ??= new Date();
  document.body.classList.add("away");
  say(by("engine-word"), "away");
  say(by("engine").firstElementChild, "○");
  look(by("engine"), "quiet");
  const since = lost.toLocaleTimeString([], { hourCycle: "h23" });
  notice(
    error instanceof Denied
      ? "This needs the token: open the link that `aisquad status` prints."
      : `Monitoring away since ${since}; trying again every ${EVERY_MS / 1000} s.` +
          (answered ? " What stands below is older." : ""),
    "bad",
  );
}

function notice(text, kind = "") {
  look(by("notice"), kind);
  say(by("notice"), text);
}

function show(data) {
  answered = Date.parse(data.at);
  document.body.classList.remove("away");
  showHead(data);
  showNotice(data);
  if (data.load) showLoad(data);
  if (data.stats) showFigures(data.stats);
  showLists(data);
  say(by("at"), `As of ${new Date(answered).toLocaleTimeString([], { hourCycle: "h23" })}.`);
  say(by("version"), `aisquad ${data.version}`);
}

function showHead({ load, engine, convoys }) {
  const [sign, state] = [by("engine").firstElementChild, by("engine-word")];
  const isRunning = load?.is_engine_running ?? false;
  say(sign, isRunning ? "●" : "○");
  look(sign, `mark ${isRunning ? "good" : "quiet"}`);
  look(by("engine"), isRunning ? "" : "quiet");
  const up = load?.engine_started_at
    ? ` up ${duration((answered - Date.parse(load.engine_started_at)) / 1000)}`
    : "";
  say(state, isRunning ? `engine${engine ? ` ${engine.pid}` : ""}${up}` : "no engine runs");
  say(by("running"), count(load?.running));
  say(by("queued"), count(load?.queued));
  const open = (convoys ?? []).filter((convoy) => !convoy.is_final);
  const failed = open.reduce((sum, convoy) => sum + convoy.failed, 0);
  say(by("failed"), convoys ? count(failed) : "–");
  look(by("failed-of-all"), failed ? "bad" : "quiet");
  document.title = load?.running ? `${load.running} running · aisquad` : "aisquad";
}

function showNotice({ sight, engine, load, problems }) {
  const ill = Object.entries(problems);
  if (engine?.trouble) notice(engine.trouble, "bad");
  else if (ill.length) notice(ill.map(([part, why]) => `${part}: ${why}`).join(" · "), "bad");
  else if (load && !load.is_engine_running) {
    notice("No engine runs: nothing starts. `aisquad up` starts one; this page follows by itself.");
  } else if (sight !== "all") {
    notice("You see numbers alone: names are for the user whose engine this is.");
  } else notice("");
}

function showLoad({ load, engine, resources, resizes, time_range: minutes }) {
  const end = answered;
  const start = end - minutes * 60_000;
  const series = (name, other) =>
    (resources ?? []).map((each) => ({
      time: Math.max(start, Date.parse(each.timestamp)),
      value: each[name],
      other: other ? each[other] : 0,
    }));
  const span = { start, end, minutes };
  const share = (points, limit) => {
    if (!points.length) return `limit ${percent(limit)}`;
    const values = points.map((point) => point.value);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return `mean ${percent(mean)} · peak ${percent(Math.max(...values))} · limit ${percent(limit)}`;
  };
  const cpu = series("cpu_percent");
  charts.cpu.show({
    ...span, points: cpu, top: 100, limit: load.cpu_threshold, now: percent(load.cpu_percent),
    sum: `${round(load.cpu_count)} cores · ${share(cpu, load.cpu_threshold)}`,
  });
  const memory = series("memory_percent");
  charts.memory.show({
    ...span, points: memory, top: 100, limit: load.memory_threshold,
    now: percent(load.memory_percent),
    sum: `${bytes(load.memory_bytes)} · ${share(memory, load.memory_threshold)}`,
  });
  const workers = series("parallelism", "active_workers");
  const how = load.auto ? `auto, ${load.baseline} to ${load.max}` : "pinned by hand";
  charts.workers.show({
    ...span, points: workers, top: Math.max(load.max, load.parallelism, 1),
    now: load.is_engine_running ? `${load.running} of ${load.parallelism}` : "–",
    sum: `${how} · dotted: running`,
  });
  const last = resizes?.at(-1);
  say(by("why"), [
    engine?.waiting ? `Nothing starts: ${engine.waiting}.` : "",
    last ? `${last.previous} → ${last.parallelism} at ${clock(Date.parse(last.at), minutes)}: ${last.reason}` : "",
  ].filter(Boolean).join(" "));
}

function showFigures(stats) {
  const ended = stats.operations;
  const failed = (ended.failed ?? 0) + (ended.lost ?? 0);
  const durations = stats.operation_durations;
  const total = Object.values(ended).reduce((sum, each) => sum + each, 0);
  const judged = failed + (ended.completed ?? 0);
  say(by("success"), judged ? rate(stats.operation_success_rate) : "–");
  say(by("success-more"), "of operations");
  say(by("ended"), count(total));
  say(by("ended-more"), `${count(ended.completed ?? 0)} completed, ${count(failed)} failed`);
  say(by("median"), duration(durations.p50_s));
  say(by("median-more"), `mean ${duration(durations.mean_s)}`);
  say(by("p95"), duration(durations.p95_s));
  say(by("p95-more"), `p99 ${duration(durations.p99_s)}`);
  say(by("total-convoys"), count(stats.total_convoys));
  const failures = (stats.convoys.failed ?? 0) + (stats.convoys.partial ?? 0);
  say(by("convoys-more"), `${count(stats.convoys.completed ?? 0)} completed, ${count(failures)} with failures`);
}

// Keeps rows that stay, so that neither the eye nor the focus loses its place.
function rows(table, items, columns) {
  const body = table.tBodies[0];
  while (body.rows.length > items.length) body.deleteRow(-1);
  items.forEach((item, index) => {
    let row = body.rows[index];
    if (!row) {
      row = body.insertRow();
      columns.forEach(({ name, kind }, place) => {
        const cell = document.createElement(place ? "td" : "th");
        if (!place) cell.scope = "row";
        if (kind) cell.className = kind;
        if (kind === "number") cell.dataset.name = name;
        row.append(cell);
      });
    }
    columns.forEach(({ fill }, place) => fill(row.cells[place], item));
  });
}

function part(cell, place, name, className) {
  while (cell.children.length <= place) cell.append(document.createElement(name));
  const element = cell.children[place];
  if (className) look(element, className);
  return element;
}

function headed(cell, sign, word, below = "") {
  const [glyph, colour] = SIGNS[sign] ?? ["·", "quiet"];
  const mark = part(cell, 0, "span", `mark ${colour}`);
  mark.setAttribute("aria-hidden", "true");
  say(mark, glyph);
  say(part(cell, 1, "span"), word);
  say(part(cell, 2, "span", "sub"), below);
}

function number(name, value, colour = () => "") {
  return {
    name,
    kind: "number",
    fill: (cell, item) => {
      say(cell, value(item));
      look(cell, `number ${colour(item)}`.trim());
    },
  };
}

function fillBar(cell, convoy) {
  const bar = part(cell, 0, "span", "bar");
  bar.setAttribute("aria-hidden", "true");
  ["done", "lost", "busy"].forEach((name, place) => {
    const width = { done: convoy.completed, lost: convoy.failed, busy: convoy.running }[name];
    part(bar, place, "i", name).style.width = `${(width / Math.max(1, convoy.total)) * 100}%`;
  });
  const share = part(cell, 1, "span", "share");
  say(share, `${Math.floor((convoy.ended / Math.max(1, convoy.total)) * 100)} %`);
}

function state(convoy) {
  if (convoy.finished_at && convoy.is_final) return `${convoy.status} ${ago(convoy.finished_at, answered)}`;
  if (convoy.reason) return `${convoy.status}: ${convoy.reason}`;
  if (convoy.eta_s !== null) return `${convoy.status}, ${duration(convoy.eta_s)} left`;
  return convoy.status;
}

const CONVOY_COLUMNS = [
  { name: "Convoy", fill: (cell, it) => headed(cell, it.status, it.name ?? "a convoy", it.id ?? "") },
  { name: "Progress", fill: fillBar },
  number("Done", (it) => count(it.completed)),
  number("Failed", (it) => count(it.failed), (it) => (it.failed ? "bad" : "quiet")),
  number("Running", (it) => count(it.running), (it) => (it.running ? "" : "quiet")),
  number("Queued", (it) => count(it.queued), (it) => (it.queued ? "" : "quiet")),
  { name: "State", kind: "last", fill: (cell, it) => say(cell, state(it)) },
];

const NO_CONVOYS = "No convoys yet. `aisquad launch FILE` launches one.";

const FAILURE_COLUMNS = [
  { name: "Operation", fill: (cell, it) => headed(cell, it.status, it.item_id, `${it.agent_id} · ${it.convoy_id}`) },
  { name: "Error", kind: "text", fill: (cell, it) => say(cell, it.error ?? it.status) },
  number("Exit", (it) => (it.exit_code === null ? "–" : String(it.exit_code))),
  number("When", (it) => ago(it.finished_at, answered)),
];

const AGENT_COLUMNS = [
  { name: "Agent", fill: (cell, it) => say(cell, it.agent_id) },
  number("Completed", (it) => count(it.completed)),
  number("Failed", (it) => count(it.failed), (it) => (it.failed ? "bad" : "quiet")),
  number("Success", (it) => rate(it.completed + it.failed ? it.completed / (it.completed + it.failed) : null)),
  number("Mean", (it) => duration(it.completed + it.failed ? it.mean_s : null)),
];

// What cannot be read now stays as it was; what is not for this caller goes.
function showList(table, empty, items, columns, none) {
  if (items) rows(table, items, columns);
  empty.hidden = table.tBodies[0].rows.length > 0;
  say(empty, items ? none : "Not known now.");
}

function showLists({ convoys, failures, agents, sight }) {
  showList(by("convoy-table"), by("no-convoys"), convoys, CONVOY_COLUMNS, NO_CONVOYS);
  const owned = [
    ["failure", "failures", failures, FAILURE_COLUMNS, "Nothing failed."],
    ["agent", "agents", agents, AGENT_COLUMNS, "Nothing ended in this period."],
  ];
  for (const [name, plural, items, columns, none] of owned) {
    const shown = sight === "all" ? items : [];
    const said = sight === "all" ? none : "Only for the owner.";
    showList(by(`${name}-table`), by(`no-${plural}`), shown, columns, said);
  }
}

by("range").addEventListener("change", ask);
window.addEventListener("hashchange", () => {
  token = takeToken();
  ask();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else ask();
});
ask();
