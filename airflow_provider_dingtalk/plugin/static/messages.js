/* Account of messages from XCom values. Pure functions: no network, no document. */

const HOUR = 3_600_000;
const KEY_FIELDS = {
  group: "process_query_key",
  oto: "process_query_key",
  private_chat: "process_query_key",
  work_notification: "task_id",
  ding: "open_ding_id",
};
/** Recall windows in milliseconds; DingTalk documents none for the other kinds. */
const WINDOWS = { oto: 24 * HOUR, work_notification: 24 * HOUR };
/** Outcomes that a report gives with reasons. */
const WITH_REASONS = ["failed", "expired", "unknown"];
export const OUTCOMES = ["recalled", ...WITH_REASONS, "unlisted", "sent", "over"];
/** XComs that hold a part of the account. */
export const KEYS = /^(receipts_\d+|receipts_count|receipts_late|alert_receipts|unknown|refused|dropped|report|recalled_\d+)$/;

/** Return the value of an XCom; undefined if it is a text that is not JSON. */
export function parsed(value) {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

/**
 * Return the messages, and what has no message, of XComs of any tasks and runs.
 *
 * Each XCom has the fields of Airflow's REST API. A later report replaces an earlier one; "recalled" stays.
 */
export function account(xcoms) {
  const found = xcoms.map((one) => ({ ...one, value: parsed(one.value) })).sort(byTime);
  const messages = new Map();
  for (const one of found.filter(isReceipts)) addReceipts(messages, one);
  for (const one of found) applyOutcomes(messages, one);
  const left = omitted(found);
  // A report lists a part of many messages, so one that no report names may be recalled or failed.
  for (const message of messages.values()) if (left) message.outcome ??= "unlisted";
  return {
    messages: [...messages.values()].sort((a, b) => (b.sent ?? 0) - (a.sent ?? 0)),
    unknown: listed(found, "unknown"),
    refused: listed(found, "refused"),
    dropped: found.filter((one) => one.key === "dropped").flatMap((one) => entries(one.value)),
    missing: missing(found),
    omitted: left,
  };
}

/** Return the outcome of a message at a time: one of OUTCOMES. */
export function outcomeOf(message, now) {
  return message.outcome ?? (message.until !== null && message.until <= now ? "over" : "sent");
}

/** Return the messages with an outcome; an empty outcome means all. */
export function filtered(messages, outcome, now) {
  return outcome ? messages.filter((message) => outcomeOf(message, now) === outcome) : messages;
}

/** Count the messages by outcome. */
export function counts(messages, now) {
  const found = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0]));
  for (const message of messages) found[outcomeOf(message, now)] += 1;
  return found;
}

/** Return the values that the incident DAG's form takes for a run, a time or a DAG. */
export function incidentConf({ dag_id, run_id, since, until }) {
  // With neither run nor time, the incident DAG asks for one of the latest runs.
  const time = since ? { since, ...(until ? { until } : {}) } : {};
  return { reason: "", dag_id, ...(run_id ? { run_id } : time) };
}

function byTime(a, b) {
  return String(a.timestamp ?? "").localeCompare(String(b.timestamp ?? ""));
}

function isReceipts({ key }) {
  return key !== "receipts_count" && (key.startsWith("receipts_") || key === "alert_receipts");
}

function receiptsOf({ value }) {
  return Array.isArray(value) ? value.filter((receipt) => messageKey(receipt)) : [];
}

function messageKey(receipt) {
  const kind = receipt?.kind;
  const field = typeof kind === "string" && Object.hasOwn(KEY_FIELDS, kind) ? KEY_FIELDS[kind] : null;
  const key = field && receipt[field];
  return typeof key === "string" || typeof key === "number" ? String(key) : "";
}

function addReceipts(messages, xcom) {
  for (const receipt of receiptsOf(xcom)) {
    const key = messageKey(receipt);
    const sent = Date.parse(receipt.sent_at);
    const window = WINDOWS[receipt.kind];
    messages.set(key, {
      key,
      kind: receipt.kind,
      conversation: textOrNull(receipt.open_conversation_id),
      recipients: Number.isInteger(receipt.recipients) ? receipt.recipients : null,
      sent: Number.isNaN(sent) ? null : sent,
      until: window && !Number.isNaN(sent) ? sent + window : null,
      isAlert: xcom.key === "alert_receipts",
      dag_id: xcom.dag_id,
      run_id: xcom.run_id,
      task_id: xcom.task_id,
      outcome: null,
      reason: null,
    });
  }
}

function applyOutcomes(messages, { key, value }) {
  if (key.startsWith("recalled_")) setRecalled(messages, value);
  if (key !== "report" || !isObject(value)) return;
  for (const outcome of WITH_REASONS) {
    for (const [name, reason] of entries(value[outcome])) setOutcome(messages, name, outcome, reason);
  }
  setRecalled(messages, value.recalled);
}

function setRecalled(messages, keys) {
  for (const key of Array.isArray(keys) ? keys : []) setOutcome(messages, key, "recalled", null);
}

function setOutcome(messages, key, outcome, reason) {
  const message = messages.get(String(key));
  if (message && message.outcome !== "recalled") Object.assign(message, { outcome, reason: reasonOf(reason) });
}

function reasonOf(reason) {
  if (!isObject(reason)) return null;
  return [reason.code, reason.message, reason.next_step].filter((part) => typeof part === "string" && part);
}

/** List the calls of an XCom such as "unknown", with their receivers and reasons. */
function listed(found, key) {
  const items = found.filter((one) => one.key === key).flatMap((one) => (Array.isArray(one.value) ? one.value : []));
  return items.filter(isObject).map((item) => ({
    to: (Array.isArray(item.to) ? item.to : []).map(String),
    reason: reasonOf(item),
  }));
}

/** Count the registered receipts that cannot be read. */
function missing(found) {
  const left = new Map();
  const add = (one, number) => {
    const place = placeOf(one);
    left.set(place, (left.get(place) ?? 0) + number);
  };
  for (const one of found) {
    if (one.key === "receipts_count" && Number.isInteger(one.value)) add(one, one.value);
    else if (/^receipts_\d/.test(one.key)) add(one, -receiptsOf(one).length);
  }
  return [...left.values()].reduce((sum, number) => sum + Math.max(number, 0), 0);
}

/** Count the messages that reports leave out of their lists; "recalled_N" lists those of rollbacks in full. */
function omitted(found) {
  const inFull = new Set(found.filter((one) => one.key.startsWith("recalled_")).map(placeOf));
  return found
    .filter((one) => one.key === "report" && isObject(one.value))
    .flatMap((one) => entries(one.value.omitted).filter(([name]) => name !== "recalled" || !inFull.has(placeOf(one))))
    .reduce((sum, [, number]) => sum + (Number.isInteger(number) ? number : 0), 0);
}

/** Return a text that names the task instance of an XCom. */
function placeOf({ dag_id, run_id, task_id, map_index }) {
  return JSON.stringify([dag_id, run_id, task_id, map_index]);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function entries(value) {
  return isObject(value) ? Object.entries(value) : [];
}

function textOrNull(value) {
  return typeof value === "string" ? value : null;
}
