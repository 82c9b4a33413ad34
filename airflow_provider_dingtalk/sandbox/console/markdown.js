// Draws DingTalk's subset of Markdown: headings, bold, italic, links, images, quotes and lists.

import { element } from "./api.js";

const INLINE =
  /!\[([^\]]{0,500})\]\(([^)\s]{0,2000})\)|\[([^\]]{0,500})\]\(([^)\s]{0,2000})\)|\*\*([^*]{1,2000})\*\*|\*([^*]{1,2000})\*|(https?:\/\/[^\s<>"']{1,2000})/g;

/** A link to a web page; any other address is shown as text. */
export function link(text, url, attributes = {}) {
  if (!/^https?:\/\//i.test(url)) return element("span", { ...attributes, title: url }, text);
  return element("a", { ...attributes, href: url, target: "_blank", rel: "noopener noreferrer" }, text);
}

/** A placeholder: the page loads nothing from other hosts. */
export function image(text, url) {
  return element("span", { class: "image", title: url }, `🖼 ${text || url}`);
}

/** Draw a line of text with its links and emphasis. */
export function inline(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [all, alt, picture, label, url, bold, italic, plain] = found;
    parts.push(text.slice(end, found.index));
    if (picture !== undefined) parts.push(image(alt, picture));
    else if (url !== undefined) parts.push(link(label || url, url));
    else if (bold) parts.push(element("strong", {}, bold));
    else if (italic) parts.push(element("em", {}, italic));
    else parts.push(link(plain, plain));
    end = found.index + all.length;
  }
  return [...parts, text.slice(end)];
}

function block(line) {
  const [, marks, heading] = /^(#{1,6})\s+(.*)/.exec(line) ?? [];
  if (marks) return element("div", { class: `h${marks.length}`, role: "heading", "aria-level": marks.length + 2 }, ...inline(heading));
  const [, quote] = /^>\s?(.*)/.exec(line) ?? [];
  if (quote !== undefined) return element("blockquote", {}, ...inline(quote));
  return element("p", {}, ...inline(line));
}

/** Draw a Markdown text as a list of elements. */
export function markdown(text) {
  const blocks = [];
  for (const line of text.split("\n")) {
    const [, mark, item] = /^\s*([-*+]|\d{1,9}\.)\s+(.*)/.exec(line) ?? [];
    const name = mark && (/\d/.test(mark) ? "ol" : "ul");
    if (!mark) {
      if (line.trim()) blocks.push(block(line));
      else blocks.push(null);
      continue;
    }
    let list = blocks.at(-1);
    if (list?.localName !== name) blocks.push((list = element(name)));
    list.append(element("li", {}, ...inline(item)));
  }
  return blocks.filter((one) => one !== null);
}
