// Draws the snapshot of /_sandbox/truth, chat by chat. Texts go in as text, never as HTML.
"use strict";

const NAMES = {
  group: "Group",
  oto: "One-on-one chats",
  private_chat: "Chat of two people",
  work_notification: "Work notifications",
  ding: "DINGs",
};
/** Messages drawn of one chat, the newest ones; and milliseconds between two polls. */
const MOST = 200;
const PAUSE = 500;

const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** Chats in order: those that exist, then what is sent outside of any. */
function chatsOf(snapshot) {
  const chats = new Map();
  for (const one of snapshot.conversations) {
    chats.set(one.open_conversation_id, { kind: one.kind, who: one.open_conversation_id, messages: [] });
  }
  for (const message of snapshot.messages) {
    const who = message.robot_code ?? `agent ${message.agent_id}`;
    const id = message.open_conversation_id ?? `${message.kind} ${who}`;
    if (!chats.has(id)) chats.set(id, { kind: message.kind, who, messages: [] });
    chats.get(id).messages.push(message);
  }
  return chats;
}

function drawMessage(message) {
  const gone = message.recalled_at !== null;
  const drawn = element("article", "", gone ? "recalled" : "");
  drawn.dataset.key = message.key;
  const at = new Date(message.sent_at * 1000).toLocaleTimeString();
  const read = `read by ${message.readers} of ${message.receivers}`;
  drawn.append(element("p", message.text), element("span", `${at} · ${gone ? "taken back" : read}`, "foot"));
  return drawn;
}

function drawChat(chat, id) {
  const shown = chat.messages.filter((one) => one.recalled_at === null || byId("show-recalled").checked);
  const section = element("section", "");
  section.dataset.chat = id;
  const heading = element("h2", `${NAMES[chat.kind] ?? chat.kind} `);
  heading.append(element("small", chat.who));
  section.append(heading);
  if (shown.length === 0) section.append(element("p", "No messages.", "foot"));
  if (shown.length > MOST) section.append(element("p", `${shown.length - MOST} older ones`, "foot"));
  section.append(...shown.slice(-MOST).map(drawMessage));
  return section;
}

function draw(snapshot) {
  const sum = (name) => Object.values(snapshot.counts).reduce((total, counts) => total + counts[name], 0);
  byId("visible").textContent = sum("visible");
  byId("recalled").textContent = sum("recalled");
  const tops = new Map([...byId("chats").children].map((one) => [one.dataset.chat, one.scrollTop]));
  byId("chats").replaceChildren(...[...chatsOf(snapshot)].map(([id, chat]) => drawChat(chat, id)));
  for (const one of byId("chats").children) one.scrollTop = tops.get(one.dataset.chat) ?? 0;
}

let last = "";

/** Poll the snapshot, and draw it if anything changed. */
async function poll() {
  try {
    const snapshot = await (await fetch("truth")).json();
    byId("lost").hidden = true;
    const seen = JSON.stringify([snapshot.counts, snapshot.conversations, snapshot.messages, byId("show-recalled").checked]);
    if (seen !== last) draw(snapshot);
    last = seen;
  } catch {
    byId("lost").hidden = false;
  }
}

/** Poll again and again, less often if a poll takes long. */
async function watch() {
  const began = performance.now();
  await poll();
  setTimeout(watch, Math.max(PAUSE, 5 * (performance.now() - began)));
}

byId("show-recalled").addEventListener("change", poll);
watch();
