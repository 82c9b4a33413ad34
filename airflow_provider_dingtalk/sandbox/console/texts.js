// English and Chinese texts of the page, by the browser's language or the switch.

const EN = {
  title: "DingTalk sandbox", visible: "messages visible, ", recalledCount: "recalled", showRecalled: "show recalled messages",
  lost: "The sandbox does not answer.", language: "中文", reset: "Reset everything", readAs: "Read as", find: "Find a chat",
  group: "Group", private_chat: "Chat of two people", person: "Person", empty: "No messages.", more: "more chats: use the search",
  read: "Read", recall: "Recall", recalled: "recalled", readCount: "read by {0} of {1}", readers: "Readers", nobody: "no one yet",
  older: "{0} older messages are not shown", clock: "Clock", minute: "+1 min", hour: "+1 h", day: "+24 h", now: "Real time",
  offset: "{0} s from the real time", faults: "Faults", fault: "Fault", api: "API", times: "Times", add: "Add fault",
  clear: "Remove all faults", noFaults: "No faults.", fired: "applied {0} times", all: "all", send: "sends", recalls: "recalls",
  query: "queries", meters: "Quota and rate", month: "Calls this month", noLimit: "no limit", perSecond: "Calls this second, {0}",
  calls: "API calls", time: "Time", result: "Result", keys: "Keys", cost: "Cost", noCalls: "No calls.",
  throttle: "throttled", status: "HTTP 500", drop: "cut before the effect", drop_after: "cut after the effect",
  dead_token: "dead token", delay: "delay of 3 s", ban: "address banned", fail_keys: "recall of each key fails",
  controls: "Controls", chats: "Chats", oto: "one-on-one", work_notification: "work notification", ding: "DING",
};
const ZH = {
  title: "钉钉沙箱", visible: "条消息可见，", recalledCount: "条已撤回", showRecalled: "显示已撤回的消息",
  lost: "沙箱没有响应。", language: "English", reset: "全部重置", readAs: "以谁的身份阅读", find: "查找会话",
  group: "群", private_chat: "人与人会话", person: "个人", empty: "没有消息。", more: "个会话未显示，请用搜索",
  read: "标为已读", recall: "撤回", recalled: "已撤回", readCount: "{0}/{1} 人已读", readers: "已读的人", nobody: "暂无",
  older: "还有 {0} 条更早的消息未显示", clock: "时钟", minute: "+1 分钟", hour: "+1 小时", day: "+24 小时", now: "真实时间",
  offset: "与真实时间相差 {0} 秒", faults: "故障", fault: "故障类型", api: "接口", times: "次数", add: "添加故障",
  clear: "清除所有故障", noFaults: "没有故障。", fired: "已触发 {0} 次", all: "全部", send: "发送", recalls: "撤回",
  query: "查询", meters: "额度与频率", month: "本月调用", noLimit: "不限", perSecond: "本秒调用，{0}",
  calls: "接口调用", time: "时间", result: "结果", keys: "消息数", cost: "消耗", noCalls: "没有调用。",
  throttle: "限流", status: "HTTP 500", drop: "生效前断开", drop_after: "生效后断开",
  dead_token: "令牌失效", delay: "延迟 3 秒", ban: "地址被封禁", fail_keys: "每条消息撤回失败",
  controls: "控制", chats: "会话", oto: "单聊", work_notification: "工作通知", ding: "DING",
};
const STORED = "dingtalk-sandbox-language";

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

let language = stored() ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** Text of the current language, with values in place of {0}, {1}. */
export function t(name, ...values) {
  return ((language === "zh" ? ZH : EN)[name] ?? name).replace(/\{(\d)\}/g, (_, index) => values[index]);
}

/** Date and time of a moment in seconds since 1970. */
export function moment(seconds, style = { dateStyle: "medium", timeStyle: "medium" }) {
  return new Date(seconds * 1000).toLocaleString(language === "zh" ? "zh-CN" : "en-GB", style);
}

/** Put the texts of the current language into the page. */
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = t(one.dataset.text);
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", t(one.dataset.label));
}

/** Change to the other language and remember it. */
export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // Without storage the choice lasts until the page is loaded again.
  }
  translate();
}
