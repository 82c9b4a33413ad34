/* Airflow's REST API with the session of the viewer, by addresses relative to the page. */

import { KEYS } from "./messages.js";

const API = "../api/v2/";
const PAGE = 100;
/** Requests at a time. */
const PARALLEL = 6;
/** Runs of one DAG that are read at most. */
export const MAX_RUNS = 50;

/** Answer of Airflow that is not a success. */
export class Refused extends Error {
  constructor(status) {
    super(`HTTP ${status}`);
    this.status = status;
  }
}

/** List the ids of the DAGs that the viewer may see. */
export async function dagIds() {
  return (await all("dags", "dags", {})).map((dag) => dag.dag_id);
}

/** List the latest runs of a DAG, at most MAX_RUNS. */
export async function latestRuns(dagId, since, until) {
  const range = { ...(since && { run_after_gte: since }), ...(until && { run_after_lte: until }) };
  const found = await get(path("dags", dagId, "dagRuns"), { limit: MAX_RUNS, order_by: "-run_after", ...range });
  return found.dag_runs.map((run) => run.dag_run_id);
}

/** Return the XComs of a run, or of one task of it, that belong to the account. */
export async function xcomsOf(dagId, runId, taskId = "~", mapIndex = null) {
  const tasks = path("dags", dagId, "dagRuns", runId, "taskInstances");
  const listed = await all(`${tasks}/${encodeURIComponent(taskId)}/xcomEntries`, "xcom_entries", {});
  const wanted = listed.filter((one) => KEYS.test(one.key) && (mapIndex === null || one.map_index === mapIndex));
  return inParallel(wanted, (one) =>
    get(`${tasks}/${path(one.task_id, "xcomEntries", one.key)}`, { map_index: one.map_index }),
  );
}

/** Return the XComs of tasks in other runs that took back messages of these runs. */
export async function xcomsOfOtherRollbacks(dagId, runIds) {
  const name = encodeURIComponent(dagId);
  const assets = await all("assets", "assets", { name_pattern: `dingtalk_rollback_log_${name}` });
  const log = assets.find((asset) => asset.uri === `dingtalk://rollback_log/${name}`);
  if (!log) return [];
  const events = await all("assets/events", "asset_events", { asset_id: log.id });
  const others = events.filter(
    (event) =>
      runIds.includes(event.extra?.run_id) &&
      event.source_run_id &&
      !(event.source_dag_id === dagId && runIds.includes(event.source_run_id)),
  );
  const sources = new Map(others.map((event) => [JSON.stringify(sourceOf(event)), sourceOf(event)]));
  return (await inParallel([...sources.values()], (source) => xcomsOf(...source))).flat().filter(isOutcome);
}

function sourceOf(event) {
  return [event.source_dag_id, event.source_run_id, event.source_task_id];
}

function isOutcome(xcom) {
  return xcom.key === "report" || xcom.key.startsWith("recalled_");
}

function path(...parts) {
  return parts.map(encodeURIComponent).join("/");
}

async function get(where, params) {
  const answer = await fetch(`${API}${where}?${new URLSearchParams(params)}`, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Refused(answer.status);
  return answer.json();
}

async function all(where, field, params) {
  const found = [];
  for (;;) {
    const page = await get(where, { ...params, limit: PAGE, offset: found.length });
    found.push(...page[field]);
    if (page[field].length === 0 || found.length >= page.total_entries) return found;
  }
}

async function inParallel(items, work) {
  const results = new Array(items.length);
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return results;
}
