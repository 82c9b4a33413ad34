// Draws chats and messages: groups, chats of two people, and one chat for each person.

import { byId, element } from "./api.js";
import { image, inline, link, markdown } from "./markdown.js";
import { moment, t } from "./texts.js";

/** Chats drawn at once, and milliseconds for which a recalled message fades. */
const MOST = 40;
const FADE = 3000;

const seen = new Set();
const gone = new Map();

function chatsOf(view) {
  const chats = new Map(view.conversations.map(({ id, kind }) => [id, { kind, name: id, messages: [] }]));
  for (const message of view.messages) {
    for (const id of message.chat ? [message.chat] : message.receivers) {
      if (!chats.has(id)) chats.set(id, { kind: "person", name: view.people[id] ?? id, messages: [] });
      chats.get(id).messages.push(message);
    }
  }
  return chats;
}

/** Tell if a message is drawn: a recalled one fades first, if it was visible before. */
function isShown(message) {
  if (!message.recalled) {
    seen.add(message.key);
    gone.delete(message.key);
    return true;
  }
  if (seen.delete(message.key)) gone.set(message.key, performance.now());
  const since = gone.get(message.key);
  return byId("show-recalled").checked || (since !== undefined && performance.now() - since < FADE);
}

function buttonsOf({ template, param }) {
  if (template === "sampleActionCard6") return [1, 2].map((n) => [param[`buttonTitle${n}`], param[`buttonUrl${n}`]]);
  if (param.btn_json_list) return param.btn_json_list.map((one) => [one.title, one.action_url]);
  const single = [param.singleTitle ?? param.single_title, param.singleURL ?? param.single_url];
  const listed = [1, 2, 3, 4, 5].map((n) => [param[`actionTitle${n}`], param[`actionURL${n}`]]);
  return [single, ...listed];
}

const CARDS = {
  text: ({ param, text }) => plain(param.content ?? text),
  sampleText: ({ param, text }) => plain(param.content ?? text),
  sampleMarkdown: ({ param, text }) => markdown(String(param.text ?? text)),
  sampleImageMsg: ({ param, text }) => [image("", String(param.photoURL ?? text))],
  sampleLink: ({ param }) => [
    element("p", { class: "card-title" }, link(String(param.title), String(param.messageUrl))),
    element("p", {}, String(param.text)),
  ],
};
CARDS.markdown = CARDS.sampleMarkdown;

function plain(text) {
  return String(text).split("\n").map((line) => element("p", {}, ...inline(line)));
}

function card(message) {
  const { param } = message;
  const buttons = buttonsOf(message).filter(([title]) => title);
  return [
    element("p", { class: "card-title" }, String(param.title ?? "")),
    ...markdown(String(param.text ?? param.markdown ?? "")),
    element("div", { class: "buttons" }, ...buttons.map(([title, url]) => link(String(title), String(url ?? ""), { class: "button" }))),
  ];
}

/** Draw the content of a message; one that does not fit its template is drawn as text. */
function content(message) {
  try {
    if (/actionCard|action_card/i.test(message.template)) return card(message);
    if (Object.keys(message.param).length === 0) return plain(message.text);
    return (CARDS[message.template] ?? (({ text }) => plain(text)))(message);
  } catch {
    return plain(message.text);
  }
}

function foot(message, view) {
  if (message.recalled) return element("span", { class: "foot" }, t("recalled"));
  const names = message.readers.map((id) => view.people[id] ?? id).join(", ");
  const label = t("readCount", message.reader_count, message.receiver_count);
  return element("details", { class: "foot" }, element("summary", {}, label), `${t("readers")}: ${names || t("nobody")}`);
}

function drawMessage(message, view, act, person) {
  const kind = message.chat ? "" : ` · ${t(message.kind)}`;
  const actions = message.recalled ? [] : [
    element("button", { "data-focus": "read", click: () => act("read", { key: message.key, user_ids: [person()] }) }, t("read")),
    element("button", { "data-focus": "recall", click: () => act("recall", { key: message.key }) }, t("recall")),
  ];
  return element("article", { "data-key": message.key, class: message.recalled ? "recalled" : undefined },
    element("div", { class: "foot" }, `${message.sender}${kind} · ${moment(message.sent_at)}`),
    element("div", { class: "content" }, ...content(message)),
    foot(message, view), ...actions);
}

/** Return the old element with that key if its content is unchanged, so that focus and open parts stay. */
function kept(old, key, signature, draw) {
  const found = old.get(key);
  if (found?.signature === signature) return found;
  const made = draw();
  made.signature = signature;
  if (found?.querySelector("details")?.open) made.querySelector("details")?.setAttribute("open", "");
  return made;
}

function place(parent, children) {
  const same = parent.children.length === children.length && children.every((one, index) => parent.children[index] === one);
  if (same) return;
  const active = document.activeElement;
  const key = parent.contains(active) ? [active.closest("[data-key]")?.dataset.key, active.dataset.focus] : null;
  parent.replaceChildren(...children);
  if (!key) return;
  const article = children.find((one) => one.dataset.key === key[0]);
  (article?.querySelector(`[data-focus=${key[1]}]`) ?? parent).focus();
}

function drawChat(section, id, chat, view, act) {
  const list = section.querySelector(".messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const old = new Map([...list.children].map((one) => [one.dataset.key, one]));
  const person = () => (chat.kind === "person" ? id : byId("person").value);
  const children = chat.messages.filter(isShownNow).map((message) =>
    kept(old, String(message.key), document.documentElement.lang + JSON.stringify(message), () => drawMessage(message, view, act, person)));
  section.querySelector("h2").replaceChildren(`${t(chat.kind)} `, element("small", {}, chat.name));
  const before = list.childElementCount;
  place(list, children.length ? children : [element("p", { class: "foot" }, t("empty"))]);
  if (atEnd || before === 0) list.scrollTop = list.scrollHeight;
}

let shown = new Set();
const isShownNow = (message) => shown.has(message.key);

function newSection(id) {
  const section = element("section", { "data-chat": id });
  section.append(element("h2"), element("div", { class: "messages", tabindex: "0" }));
  return section;
}

/** Draw all chats that the search selects. */
export function drawChats(view, act) {
  shown = new Set(view.messages.filter(isShown).map((message) => message.key));
  const wanted = byId("find").value.trim().toLowerCase();
  const found = [...chatsOf(view)].filter(([id, chat]) => `${id} ${chat.name}`.toLowerCase().includes(wanted));
  const old = new Map([...byId("chats").children].map((one) => [one.dataset.chat, one]));
  const drawn = found.slice(0, MOST).map(([id, chat]) => [old.get(id) ?? newSection(id), id, chat]);
  const sections = drawn.map(([section]) => section);
  const present = [...byId("chats").children];
  if (present.length !== sections.length || sections.some((one, index) => one !== present[index])) byId("chats").replaceChildren(...sections);
  for (const [section, id, chat] of drawn) drawChat(section, id, chat, view, act);
  byId("more").textContent = found.length > MOST ? `${found.length - MOST} ${t("more")}` : "";
}
