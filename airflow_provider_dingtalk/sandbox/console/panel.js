// Draws the controls: clock, faults, meters of quota and rate, and the last API calls.

import { byId, element } from "./api.js";
import { moment, t } from "./texts.js";

const ACTIONS = {
  throttle: { action: { type: "throttle" } },
  status: { action: { type: "status" } },
  drop: { action: { type: "drop" } },
  drop_after: { when: "after", action: { type: "drop" } },
  dead_token: { action: { type: "dead_token" } },
  delay: { action: { type: "delay", seconds: 3 } },
  ban: { action: { type: "ban" } },
  fail_keys: { action: { type: "fail_keys" } },
};
/** Part of the API's name by its name in the list. */
const APIS = { all: "", send: "end", recalls: "ecall", query: "query" };

function options(select, names) {
  const chosen = select.value || names[0];
  select.replaceChildren(...names.map((name) => element("option", { value: name }, t(name))));
  select.value = chosen;
}

/** Fill the lists of faults and APIs in the current language. */
export function drawChoices() {
  options(byId("fault"), Object.keys(ACTIONS));
  options(byId("api"), Object.keys(APIS));
}

/** Return the fault rule that the form describes. */
export function chosenFault() {
  return { ...ACTIONS[byId("fault").value], match: APIS[byId("api").value], times: Number(byId("times").value) || null };
}

function meter(label, value, limit) {
  const text = `${label}: ${value} / ${limit || t("noLimit")}`;
  const bar = limit ? [element("meter", { min: 0, max: limit, high: limit * 0.8, value, "aria-label": text })] : [];
  return element("li", {}, text, ...bar);
}

function drawFaults(rules) {
  const items = rules.map((rule) =>
    element("li", {}, `${rule.action.type} · ${rule.match || t("all")} · ${rule.when} · ${t("fired", rule.fired)}${rule.times ? ` / ${rule.times}` : ""}`));
  byId("rules").replaceChildren(...(items.length ? items : [element("li", { class: "foot" }, t("noFaults"))]));
}

function drawCalls(calls) {
  const rows = calls.map((call) => element("tr", { class: call.code === "ok" ? undefined : "refused" },
    element("td", {}, moment(call.time, { timeStyle: "medium" })), element("td", {}, call.api),
    element("td", {}, `${call.status || "–"} ${call.code}${call.faults.length ? ` (${call.faults.join(", ")})` : ""}`),
    element("td", {}, String(call.keys)), element("td", {}, String(call.cost))));
  byId("calls").replaceChildren(...(rows.length ? rows : [element("tr", {}, element("td", { colspan: 5 }, t("noCalls")))]));
}

function drawPeople(people) {
  const select = byId("person");
  if (select.options.length === Object.keys(people).length) return;
  select.replaceChildren(...Object.entries(people).map(([id, name]) => element("option", { value: id }, `${name} (${id})`)));
}

/** Draw clock, faults, meters and calls. */
export function drawPanel(view) {
  byId("time").textContent = moment(view.time);
  byId("offset").textContent = t("offset", Math.round(view.offset));
  drawPeople(view.people);
  drawFaults(view.faults);
  drawCalls(view.calls);
  byId("meters").replaceChildren(
    meter(t("month"), view.calls_this_month, view.calls_per_month),
    ...Object.entries(view.meters).map(([api, count]) => meter(t("perSecond", api), count, view.calls_per_second)));
}
