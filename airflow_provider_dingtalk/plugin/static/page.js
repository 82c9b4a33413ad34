/* The page: reads its place from the address, asks Airflow, and shows the account. Foreign text is never HTML. */

import { dagIds, latestRuns, MAX_RUNS, Refused, xcomsOf, xcomsOfOtherRollbacks } from "./airflow.js";
import { account, counts, filtered, incidentConf, outcomeOf, OUTCOMES } from "./messages.js";
import { textsOf } from "./texts.js";

const ROWS = 100;
/** Notes of one sort that are shown at most. */
const NOTES = 20;
const REFRESH = 30_000;
const INCIDENT_DAG = "../dags/dingtalk_incident_rollback";

const language = stored("i18nextLng") ?? navigator.language;
const texts = textsOf(language);
const place = Object.fromEntries(new URLSearchParams(location.search));
const isNav = !place.run_id;
const find = (selector) => document.querySelector(selector);
const form = find("#filters");
/** Chinese of the sentences in reasons, which are English in reports. */
const chinese = texts === textsOf("zh") ? await chineseOfReasons() : new Map();
let shown = { messages: [] };
let first = 0;
let reading = 0;

function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

async function chineseOfReasons() {
  try {
    return new Map(Object.entries(await (await fetch("reasons.zh.json")).json()));
  } catch {
    return new Map();
  }
}

function reasonText(reason) {
  return (reason ?? []).map((part) => chinese.get(part) ?? part).join(" ");
}

function applyTheme() {
  document.documentElement.dataset.theme = stored("theme") ?? "system";
}

/** Create an element with a text. */
function element(name, text = "", more = {}) {
  return Object.assign(document.createElement(name), { textContent: text, ...more });
}

function formatted(moment) {
  return moment === null ? "" : new Date(moment).toLocaleString(language);
}

function untilText(message, now) {
  if (outcomeOf(message, now) !== "sent") return "";
  if (message.until === null) return texts.noWindow;
  const minutes = Math.floor((message.until - now) / 60_000);
  return `${formatted(message.until)} (${texts.left(Math.floor(minutes / 60), minutes % 60)})`;
}

function outcomeCell(message, now) {
  const outcome = outcomeOf(message, now);
  const cell = element("td");
  cell.append(element("span", texts.outcomes[outcome], { className: outcome }));
  if (message.isAlert) cell.append(` (${texts.alert})`);
  if (message.reason?.length) cell.append(element("span", reasonText(message.reason), { className: "reason" }));
  return cell;
}

function cellsOf(message, now) {
  return {
    sent: element("td", formatted(message.sent)),
    kind: element("td", texts.kinds[message.kind]),
    conversation: element("td", message.conversation ?? ""),
    recipients: element("td", message.recipients === null ? "" : String(message.recipients)),
    outcome: outcomeCell(message, now),
    until: element("td", untilText(message, now)),
    ...(isNav && { run_id: element("td", message.run_id) }),
    task_id: element("td", message.task_id),
  };
}

function rowOf(message, now) {
  const row = element("tr");
  row.dataset.key = message.key;
  for (const [name, cell] of Object.entries(cellsOf(message, now))) {
    cell.dataset.label = texts.columns[name];
    row.append(cell);
  }
  return row;
}

function showRows() {
  const now = Date.now();
  const rows = filtered(shown.messages, form.elements.outcome.value, now);
  first = Math.min(first, Math.max(Math.floor((rows.length - 1) / ROWS) * ROWS, 0));
  const last = Math.min(first + ROWS, rows.length);
  find("tbody").replaceChildren(...rows.slice(first, last).map((message) => rowOf(message, now)));
  find("table").hidden = rows.length === 0;
  find("#pages").hidden = rows.length <= ROWS;
  find("#position").textContent = texts.position(first + 1, last, rows.length);
  find("#previous").disabled = first === 0;
  find("#next").disabled = last === rows.length;
}

function turn(step) {
  first = Math.max(first + step, 0);
  showRows();
  if (step) find("table").scrollIntoView();
}

function summary(messages) {
  if (messages.length === 0) return texts.none;
  const found = Object.entries(counts(messages, Date.now())).filter(([, number]) => number);
  const parts = found.map(([outcome, number]) => `${texts.outcomes[outcome]} ${number}`);
  return texts.found(messages.length, parts);
}

function shortened(lines) {
  return lines.length <= NOTES ? lines : [...lines.slice(0, NOTES), texts.more(lines.length - NOTES)];
}

function calls(text, found) {
  return shortened(found.map(({ to, reason }) => text(texts.list(to), reasonText(reason))));
}

function notesOf(found) {
  return [
    ...found.notes,
    ...(found.missing ? [texts.missing(found.missing)] : []),
    ...(found.omitted ? [texts.omitted(found.omitted)] : []),
    ...calls(texts.inDoubt, found.unknown),
    ...calls(texts.refused, found.refused),
    ...shortened(found.dropped.map(([user, reason]) => texts.dropped(user, String(reason)))),
  ];
}

function show(found, status) {
  shown = found;
  first = 0;
  find("#status").textContent = status;
  find("#notes").replaceChildren(...notesOf(found).map((note) => element("li", note)));
  showRows();
}

function empty(status) {
  find("#incident").hidden = true;
  show({ ...account([]), notes: [] }, status);
}

function problemText(error) {
  if (!(error instanceof Refused)) return texts.failed;
  return { 401: texts.notLoggedIn, 403: texts.forbidden, 404: texts.notFound }[error.status] ?? texts.failed;
}

function iso(local) {
  return local ? new Date(local).toISOString() : "";
}

function wanted() {
  if (!isNav) return place;
  const { dag_id, since, until } = form.elements;
  return { dag_id: dag_id.value, since: iso(since.value), until: iso(until.value) };
}

async function xcomsOfRuns({ dag_id, task_id, map_index }, runIds) {
  const mapIndex = /^\d+$/.test(map_index ?? "") ? Number(map_index) : null;
  const found = [];
  for (const runId of runIds) found.push(...(await xcomsOf(dag_id, runId, task_id || "~", mapIndex)));
  return found;
}

/** Return the outcomes for one task: rollbacks of its run are other tasks. */
async function outcomesOfRun({ dag_id, task_id, run_id }) {
  if (!task_id) return [];
  return (await xcomsOf(dag_id, run_id)).filter((one) => one.key === "report" || one.key.startsWith("recalled_"));
}

async function read(what) {
  const runIds = what.run_id ? [what.run_id] : await latestRuns(what.dag_id, what.since, what.until);
  const notes = !what.run_id && runIds.length === MAX_RUNS ? [texts.mostRuns(MAX_RUNS)] : [];
  const own = [...(await xcomsOfRuns(what, runIds)), ...(await outcomesOfRun(what))];
  try {
    return { ...account([...own, ...(await xcomsOfOtherRollbacks(what.dag_id, runIds))]), notes };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { ...account(own), notes: [...notes, texts.hiddenRollbacks] };
  }
}

function showIncident(what, found) {
  find("#incident").hidden = found.messages.length === 0;
  find("#conf").value = JSON.stringify(incidentConf(what), null, 2);
}

async function load() {
  const what = wanted();
  const number = ++reading;
  empty(texts.loading);
  try {
    const found = await read(what);
    if (number !== reading) return;
    show(found, summary(found.messages));
    showIncident(what, found);
  } catch (error) {
    if (number === reading) empty(problemText(error));
  }
}

async function offerDags() {
  try {
    find("#dags").replaceChildren(...(await dagIds()).map((id) => element("option", "", { value: id })));
    empty(texts.choose);
  } catch (error) {
    empty(problemText(error));
  }
}

async function copy() {
  find("#conf").select();
  // Browsers offer no clipboard to pages without TLS; there the text is selected, for Ctrl-C.
  await navigator.clipboard?.writeText(find("#conf").value);
  if (navigator.clipboard) find("#copy").textContent = texts.copied;
}

/** Open the incident DAG in Airflow's window: the page is a frame in it, and may not open windows. */
function openIncident() {
  const link = window.parent.document.createElement("a");
  link.href = new URL(INCIDENT_DAG, location.href).href;
  link.click();
}

function write() {
  document.documentElement.lang = texts === textsOf("zh") ? "zh-CN" : "en";
  document.title = texts.title;
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = texts[one.dataset.text];
  const names = Object.keys(cellsOf({ kind: "group", until: null, recipients: null, sent: null }, 0));
  find("thead tr").replaceChildren(...names.map((name) => element("th", texts.columns[name], { scope: "col" })));
  const options = OUTCOMES.map((outcome) => element("option", texts.outcomes[outcome], { value: outcome }));
  form.elements.outcome.replaceChildren(element("option", texts.all, { value: "" }), ...options);
  for (const one of document.querySelectorAll(".nav")) one.hidden = !isNav;
}

applyTheme();
write();
addEventListener("storage", applyTheme);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
form.elements.outcome.addEventListener("change", () => turn(-first));
find("#previous").addEventListener("click", () => turn(-ROWS));
find("#next").addEventListener("click", () => turn(ROWS));
find("#copy").addEventListener("click", copy);
find("#open").addEventListener("click", openIncident);
setInterval(showRows, REFRESH);
if (isNav) offerDags();
else load();
