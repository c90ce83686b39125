// The frame of the page: its tabs, its state in the address, the theme, and the stream of jobs.

import { complain, h, icon, usd } from "./dom.js";
import { follow, get, jobs, listen, loadStatus, recall, remember, request, seen } from "./api.js";
import { needsDecision } from "./cards.js";
import { makePage } from "./make.js";
import { editPage } from "./edit.js";
import { galleryPage } from "./gallery.js";
import { openDetail } from "./detail.js";
import { failed } from "./images.js";
import { jobsPage } from "./jobs.js";
import { moneyPage } from "./money.js";

const PAGES = { make: ["Make", makePage], edit: ["Edit", editPage], gallery: ["Gallery", galleryPage], jobs: ["Jobs", jobsPage], money: ["Money", moneyPage] };
const main = document.querySelector("#main");
const made = new Map();
const count = h("span", { class: "count", hidden: true });

const app = {
  go(name) { location.hash = `#/${name}`; },
  /** Show an image; `ids` are its neighbours. */
  open(id, ids = [id]) { openDetail(id, { ids, ...app }).catch((error) => failed(error, id, app)); },
  edit(id) { show("edit"); made.get("edit").api.start(id); app.go("edit"); },
  again(request) { show("make"); made.get("make").api.use({ request }); },
  similar(id) { show("gallery"); made.get("gallery").api.similar(id); app.go("gallery"); },
  removed(id) { made.get("gallery")?.api.removed(id); },
  restored(ids) { made.get("gallery")?.api.restored(ids); },
  changed(image) { made.get("gallery")?.api.changed(image); },
  status: showStatus,
};

function show(name) {
  if (!made.has(name)) {
    const node = h("section", { class: name, "aria-label": PAGES[name][0] });
    main.append(node);
    made.set(name, { node, api: PAGES[name][1](node, app) ?? {} });
  }
  for (const [each, { node }] of made) node.hidden = each !== name;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  document.title = `${PAGES[name][0]} · gptimage studio`;
  made.get(name).api.shown?.();
}

function route() {
  const name = location.hash.replace("#/", "");
  show(PAGES[name] ? name : "make");
}

function trouble(text) {
  const banner = document.querySelector("#banner");
  banner.textContent = text;
  banner.hidden = !text;
}

async function showStatus() {
  const status = await loadStatus();
  const mode = document.querySelector("#mode");
  mode.hidden = !status.sandbox;
  mode.title = "Everything is drawn offline: no key, no cost";
  document.querySelector("#leave").hidden = !status.can_sign_out;
  const left = document.querySelector("#left");
  left.hidden = status.left_usd === null;
  left.textContent = `${usd(status.left_usd)} left`;
  if (!status.has_key) trouble("There is no key, so nothing can be drawn yet. Set OPENAI_API_KEY and start the studio again, or try everything with: gptimage studio --sandbox");
}

function theme() {
  const chosen = recall("theme", null);
  const toggle = document.querySelector("#theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  toggle.append(icon("sun"));
  toggle.addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    remember("theme", document.documentElement.dataset.theme);
  });
}

theme();
document.querySelector("#leave").addEventListener("click", () => request("DELETE", "session").then(() => location.reload(), complain));
document.querySelector(".tabs").append(...Object.entries(PAGES).map(([name, [title]]) =>
  h("a", { href: `#/${name}`, "data-page": name }, icon(name), title, name === "jobs" && count)));
follow((job) => {
  const waiting = [...jobs.values()].filter((each) => each.live || needsDecision(each)).length;
  count.hidden = !waiting;
  count.textContent = waiting;
  if (!job || !job.live) showStatus().catch(() => {});
});
try {
  [seen.catalogue] = await Promise.all([get("api/catalogue"), showStatus()]);
  addEventListener("hashchange", () => { for (const each of document.querySelectorAll("dialog")) each.close(); route(); scrollTo(0, 0); });
  listen(trouble);
  route();
  main.dataset.ready = "true";
} catch (error) {
  trouble(error.message);
}
