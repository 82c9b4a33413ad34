// Polls /_sandbox/chats, draws it, and sends what a person does as control requests.

import { byId, request } from "./api.js";
import { drawChats } from "./chats.js";
import { chosenFault, drawChoices, drawPanel } from "./panel.js";
import { switchLanguage, translate } from "./texts.js";

/** Milliseconds between two polls. */
const PAUSE = 500;
let view = null;

function draw() {
  if (!view) return;
  const sum = (name) => Object.values(view.counts).reduce((total, counts) => total + counts[name], 0);
  byId("visible").textContent = sum("visible");
  byId("recalled").textContent = sum("recalled");
  drawPanel(view);
  drawChats(view, (path, body) => act("POST", path, body));
}

async function poll() {
  try {
    view = await request("GET", "chats");
  } catch {
    byId("lost").hidden = false;
    return;
  }
  byId("lost").hidden = true;
  draw();
}

/** Send a control request, show its error if it was refused, and draw the new state. */
async function act(method, path, body) {
  try {
    byId("error").textContent = "";
    await request(method, path, body);
  } catch (error) {
    byId("error").textContent = error.message;
  }
  await poll();
}

/** Poll again and again, less often if a poll takes long. */
async function watch() {
  const began = performance.now();
  await poll();
  setTimeout(watch, Math.max(PAUSE, 5 * (performance.now() - began)));
}

function onClick(id, action) {
  byId(id).addEventListener("click", action);
}

onClick("reset", () => act("POST", "reset"));
onClick("add-fault", () => act("POST", "faults", chosenFault()));
onClick("clear-faults", () => act("DELETE", "faults"));
onClick("now", () => act("POST", "clock", { advance: -(view?.offset ?? 0) }));
for (const one of document.querySelectorAll("[data-advance]")) {
  one.addEventListener("click", () => act("POST", "clock", { advance: Number(one.dataset.advance) }));
}
onClick("language", () => {
  switchLanguage();
  drawChoices();
  draw();
});
byId("show-recalled").addEventListener("change", draw);
byId("find").addEventListener("input", draw);
translate();
drawChoices();
watch();
