// A job as a card: its frames have their final proportions from the beginning.

import { button, complain, h, icon, toast, usd } from "./dom.js";
import { decide, follow, jobs, thumbnail, seen } from "./api.js";

const NEEDS = new Set(["needs_review", "lost"]);
export const needsDecision = (job) => NEEDS.has(job.state) || (job.state === "open" && !job.live) || job.unsaved.length > 0;

/** Width over height of what a request asks for; 1 where that is not known beforehand. */
export function proportion(request) {
  const size = seen.catalogue.sizes[request.size] ?? String(request.size ?? "");
  const found = size.match(/^(\d+)\s*[x:×]\s*(\d+)$/i);
  return found ? Number(found[1]) / Number(found[2]) : 1;
}

/** Cancel a job, and say what it may cost all the same: what was sent cannot be taken back. */
async function cancel(id) {
  const job = await decide(id, "cancel");
  toast(job.state === "sending" ? `It was sent already and goes on: ${job.possible_cost_usd ? `it may cost up to ${usd(job.possible_cost_usd)}` : "its cost is not known"}. Its image is saved.`
    // Only what nobody had begun is known to be unsent: another process may be sending this very moment.
    : job.live ? "It is being cancelled: its card says what comes of it." : "Cancelled. Nothing was billed.");
}

/** What a person can do with a job, as buttons. */
export function actions(job, { again = null } = {}) {
  const go = (action) => () => decide(job.id, action).catch(complain);
  const found = [];
  if (job.live) found.push(button("Cancel", () => cancel(job.id).catch(complain), { kind: "tiny" }));
  if (!job.live && job.state === "open") found.push(button("Send it", go("resume"), { kind: "tiny" }), button("Discard", go("discard"), { kind: "tiny quiet" }));
  if (job.state === "lost") found.push(button("Look for its images", go("resume"), { kind: "tiny" }));
  if (job.state === "needs_review") {
    found.push(button("Look again", go("resume"), { kind: "tiny" }),
      button("Send again, may pay twice", go("retry"), { kind: "tiny" }), button("Discard", go("discard"), { kind: "tiny quiet" }));
  }
  for (const [index, url] of job.unsaved.entries()) {
    found.push(h("a", { class: "button tiny", href: url, download: `${job.id}-${index + 1}`, text: "Save this image now" }));
  }
  if (again && ["failed", "discarded"].includes(job.state)) found.push(button("Use again", () => again(job), { kind: "tiny" }));
  return found;
}

/** What a job shows: how far it is, what it cost, or why there is no image. */
export function sentence(job) {
  if (job.state === "done" && !job.images.length) return "Its images were deleted.";
  if (job.state === "done") return [usd(job.cost_usd) === "unknown" ? "cost unknown" : usd(job.cost_usd), ...job.warnings].join(" · ");
  if (job.live) return `${job.message} ${Math.max(0, Math.round((performance.now() - job.begun) / 1000))} s`;
  const cost = job.state === "needs_review" && job.possible_cost_usd ? ` Up to ${usd(job.possible_cost_usd)}.` : "";
  const reason = (job.reason ?? "").replace(/^\w+Error: /, "");
  return [job.message, reason && `${reason[0].toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`].filter(Boolean).join(" ") + cost;
}

export class Card {
  constructor(job, { open, again }) {
    this.open = open;
    this.again = again;
    this.frames = h("div", { class: "frames" });
    this.state = h("p", { class: "state num" });
    this.buttons = h("div", { class: "row" });
    this.node = h("article", { class: "card", "data-job": job.id, "aria-label": job.request.prompt.slice(0, 120) },
      this.frames, h("p", { class: "words", text: job.request.prompt }), this.state, this.buttons);
    this.show(job);
  }

  show(job) {
    this.job = job;
    this.node.dataset.state = job.state;
    this.node.setAttribute("aria-busy", String(job.live));
    const count = Math.max(job.images.length, job.request.n ?? 1);
    this.frames.classList.toggle("several", count > 1);
    const key = `${job.state} ${job.live} ${job.preview?.length ?? 0} ${job.images}`;
    if (key !== this.key) this.draw(job, count);
    this.key = key;
    this.tick();
    const wanted = `${job.state} ${job.live}`;
    if (wanted !== this.offered) this.buttons.replaceChildren(...actions(job, { again: this.again }));
    this.offered = wanted;
  }

  draw(job, count) {
    const frames = Array.from({ length: count }, (_, index) => this.frame(job, job.images[index], index));
    for (const each of frames) each.style.aspectRatio = String(proportion(job.request));
    this.frames.replaceChildren(...frames);
  }

  frame(job, id, index) {
    if (id) {
      const image = h("img", { src: thumbnail(id, 768), alt: job.request.prompt.slice(0, 200), decoding: "async" });
      return h("button", { type: "button", class: "frame checker", "aria-label": `Open image ${index + 1}: ${job.request.prompt.slice(0, 100)}`,
        onclick: () => this.open(id, job.images) }, image);
    }
    if (job.live) {
      const shown = index === 0 && job.preview;
      return h("div", { class: `frame busy ${shown ? "preview" : ""}` }, shown && h("img", { src: job.preview, alt: "Preview" }));
    }
    return h("div", { class: "frame trouble" }, icon(["discarded", "done"].includes(job.state) ? "close" : "alert"));
  }

  tick() {
    this.state.textContent = sentence(this.job);
    this.state.classList.toggle("bad", ["failed", "needs_review", "lost"].includes(this.job.state));
  }
}

/** A list of cards that follows the jobs it is about, newest first. */
export function cardList(node, wanted, options, { most = 60, changed = () => {} } = {}) {
  const cards = new Map();
  const show = (job) => {
    if (!wanted(job)) return;
    if (cards.has(job.id)) cards.get(job.id).show(job);
    else {
      const card = new Card(job, options);
      const ids = [...jobs.keys()];
      const next = ids.slice(ids.indexOf(job.id) + 1).find((id) => cards.has(id));
      if (next) cards.get(next).node.after(card.node); else node.prepend(card.node);
      cards.set(job.id, card);
      while (node.children.length > most) { cards.delete(node.lastChild.dataset.job); node.lastChild.remove(); }
    }
  };
  const all = () => {
    for (const [id, card] of cards) if (!jobs.has(id)) { card.node.remove(); cards.delete(id); }
    for (const job of [...jobs.values()].slice(-most)) show(job);
    changed(cards.size);
  };
  follow((job) => { if (job) { show(job); changed(cards.size); } else all(); });
  all();
  setInterval(() => { for (const card of cards.values()) if (card.job.live) card.tick(); }, 1000);
  return cards;
}
