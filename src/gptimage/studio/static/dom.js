// Elements are made, never parsed: whatever a prompt or a file says stays text.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `on...` are listeners, `text` is text, other properties are attributes. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Make an element of an SVG. */
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

const PATHS = {
  make: "M12 3l1.9 5.1L19 10l-5.1 1.9L12 17l-1.9-5.1L5 10l5.1-1.9zM19 16l.8 2.2L22 19l-2.2.8L19 22l-.8-2.2L16 19l2.2-.8z",
  edit: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  gallery: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  jobs: "M4 6h16M4 12h16M4 18h10",
  money: "M4 20V10M10 20V4M16 20v-7M21 20H3",
  pin: "M9 3h6l-1 7 4 3v2H6v-2l4-3zM12 15v6",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  close: "M6 6l12 12M18 6L6 18",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  brush: "M20 4L10 14M9 13c-3 0-4 2-4 4 0 1-1 2-2 2 2 2 8 2 8-3",
  eraser: "M4 16l9-11 7 6-8 9H8zM9 10l7 6",
  box: "M4 6h16v12H4z",
  invert: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  undo: "M9 14L4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  hand: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  again: "M20 11a8 8 0 1 0-2 6M20 4v7h-7",
  alert: "M12 4l9 16H3zM12 10v4M12 17v.5",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M19 5l-1.5 1.5M6.5 17.5L5 19",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
};

export function icon(name) {
  return s("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "1.7",
    "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" }, s("path", { d: PATHS[name] }));
}

/** A button with words; with `icon` also a picture. */
export function button(text, onclick, { kind = "", picture = null, ...more } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, onclick, ...more }, picture && icon(picture), text);
}

/** The button that sends a form. The second click of a double click sends nothing: it would be paid for, too. */
export function submitButton(text) {
  return h("button", { type: "submit", class: "button primary", onclick: (event) => { if (event.detail > 1) event.preventDefault(); } }, text);
}

/** A button with a picture only; its words are for those who do not see it. */
export function iconButton(name, label, onclick, more = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

export function field(label, control, { wide = false } = {}) {
  control.id ||= `f${++field.count}`;
  return h("div", { class: wide ? "wide" : "" }, h("label", { for: control.id, text: label }), control);
}
field.count = 0;

/** Say something for a while; with an action, a button beside it. Resolves to whether it was pressed. */
export function toast(text, { action = null, seconds = 6 } = {}) {
  return new Promise((resolve) => {
    const open = [...document.querySelectorAll("dialog[open]")].at(-1);
    const host = open ? (open.querySelector(".toasts") ?? open.appendChild(h("div", { class: "toasts", role: "status" })))
      : document.querySelector("body > .toasts");
    const done = (pressed) => { clearTimeout(timer); box.remove(); resolve(pressed); };
    const box = h("div", { class: "toast" }, h("span", { text }),
      action && h("button", { type: "button", text: action, onclick: () => done(true) }),
      h("button", { type: "button", "aria-label": "Close this message", text: "✕", onclick: () => done(false) }));
    const timer = setTimeout(() => done(false), seconds * 1000);
    host.append(box);
  });
}

export function complain(error) {
  if (error.name !== "AbortError") toast(error.message, { seconds: 12 });
}

/** A dialog that is gone when it is closed. */
export function dialog(label, ...children) {
  const before = document.activeElement;
  const box = h("dialog", { "aria-label": label, tabindex: "-1" }, children);
  box.addEventListener("close", () => { box.remove(); before?.focus?.(); });
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  return box;
}

export function empty(picture, title, text, ...actions) {
  return h("div", { class: "empty" }, icon(picture), h("h2", { text: title }), h("p", { text }), h("div", { class: "row" }, actions));
}

export function usd(amount) {
  if (amount === null || amount === undefined) return "unknown";
  const number = Number(amount);
  return number === 0 ? "$0" : `$${number.toFixed(number >= 1 ? 2 : 4)}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

export function when(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** Call at most once in a while, with the newest arguments. */
export function later(milliseconds, run) {
  let timer;
  return (...all) => { clearTimeout(timer); timer = setTimeout(() => run(...all), milliseconds); };
}

export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
