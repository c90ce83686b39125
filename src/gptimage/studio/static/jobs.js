// Jobs: what runs, what waits for a decision, and what is over; all of it outlives this tab.

import { button, complain, empty, h, icon, plural, usd, when } from "./dom.js";
import { follow, get, jobs, post, thumbnail } from "./api.js";
import { actions, needsDecision, sentence } from "./cards.js";

const STATES = { open: "waiting", claimed: "preparing", sending: "drawing", done: "done", failed: "failed", discarded: "discarded", needs_review: "needs a decision", lost: "needs a decision" };

export function jobsPage(node, app) {
  const list = h("div", { class: "joblist" });
  const hint = empty("jobs", "Nothing runs", "Each call is a job. It goes on when you close this tab or stop the studio: what was sent is finished and saved, what was not is still here next time.",
    button("Make an image", () => app.go("make"), { picture: "make" }));
  node.append(h("div", { class: "page-head" }, h("div", {}, h("h1", { text: "Jobs" }),
    h("p", { text: "What may have been billed is never sent again by itself: that is for you to decide here." }))), hint, list);
  const workers = h("section", { "aria-label": "Jobs of workers", hidden: true }, h("h2", { text: "Jobs of workers" }),
    h("p", { class: "soft", text: "From the job store that GPTIMAGE_JOB_STORE names. A retried job is sent when its queue delivers it again." }), h("div", { class: "joblist" }));
  const batches = h("section", { "aria-label": "Batches", hidden: true }, h("h2", { text: "Batches at half price" }), h("div", { class: "joblist" }));
  node.append(batches, workers);
  const rows = new Map();

  async function ofBatches() {
    const found = await get("api/batches");
    batches.hidden = !found.batches.length;
    batches.lastChild.replaceChildren(...found.batches.map(batch));
  }

  function batch(report) {
    const go = (action) => (event) => {
      event.target.disabled = true;
      post(`api/batches/${report.id}/${action}`).then(ofBatches).catch((error) => { complain(error); event.target.disabled = false; });
    };
    const { state, images = [], problems = [] } = report;
    const says = { submitting: "Its submission was interrupted. Going on submits nothing twice.", submitted: `${report.completed} of ${report.total} drawn.`,
      ended: `All is over: ${report.completed} drawn, ${report.failed} failed.`, saved: `${plural(images.length, "image")} saved. ${problems.join(" ")}` }[state];
    const buttons = { submitting: [["Go on", "submit"]], submitted: [["How far is it?", "refresh"], ["Cancel", "cancel"]], ended: [["Save its images", "save"]], saved: [] }[state];
    return h("article", { class: `sheet job ${state === "ended" ? "needs" : ""}`, "data-batch": report.id, "data-state": state },
      images.length ? h("button", { type: "button", class: "thumb", "aria-label": "Open its images", onclick: () => app.open(images[0], images) }, h("img", { src: thumbnail(images[0]), alt: "" }))
        : h("div", { class: "thumb" }, icon("jobs")),
      h("div", { class: "grow" }, h("p", { class: "words", text: report.requests.map((each) => each.prompt).join(" · ") }),
        h("p", { class: "state num" }, h("strong", { text: plural(report.requests.length, "request") }), ` · ${says} About ${usd(report.estimate_usd)}.`)),
      h("div", { class: "row" }, buttons.map(([text, action]) => button(text, go(action), { kind: "tiny" }))));
  }

  async function ofWorkers() {
    const found = await get("api/workers");
    workers.hidden = !found.jobs.length;
    const decide = (job, action) => () => post(`api/workers/${encodeURIComponent(job.id)}/${action}`).then(ofWorkers).catch(complain);
    workers.lastChild.replaceChildren(...found.jobs.map((job) => {
      const waits = job.state === "needs_review" || job.state === "lost";
      const shown = { ...job, message: waits ? "It may have been billed, and there is no image." : "" };
      return row(shown, waits ? [button("Send again, may pay twice", decide(job, "retry"), { kind: "tiny" }), button("Discard", decide(job, "discard"), { kind: "tiny quiet" })] : []);
    }));
  }

  function row(job, buttons = actions(job)) {
    const id = job.images[0];
    const words = h("p", { class: "words", text: job.request.prompt });
    const picture = id ? h("button", { type: "button", class: "thumb", "aria-label": `Open: ${job.request.prompt.slice(0, 80)}`, onclick: () => app.open(id, job.images) },
      h("img", { src: thumbnail(id), alt: "", loading: "lazy" })) : h("div", { class: "thumb" }, icon(job.request.images ? "edit" : "make"));
    return h("article", { class: `sheet job ${needsDecision(job) ? "needs" : ""}`, "data-job": job.id, "data-state": job.state }, picture,
      h("div", { class: "grow" }, words, h("p", { class: "state num" }, h("strong", { text: STATES[job.state] ?? job.state }), ` · ${sentence(job)} · `, h("span", { class: "when", text: when(job.at * 1000) }))),
      h("div", { class: "row" }, buttons));
  }

  function draw() {
    const order = (job) => needsDecision(job) ? 0 : job.live ? 1 : 2;
    const all = [...jobs.values()].reverse().sort((one, other) => order(one) - order(other));
    hint.hidden = all.length > 0;
    list.replaceChildren(...all.map((job) => {
      const key = JSON.stringify([job.state, job.live, job.message, job.reason, job.images, job.unsaved.length]);
      if (rows.get(job.id)?.key !== key) rows.set(job.id, { key, node: row(job) });
      return rows.get(job.id).node;
    }));
  }

  follow(() => { if (!node.hidden) draw(); });
  return { shown: () => { draw(); ofBatches().catch(complain); ofWorkers().catch(complain); } };
}
