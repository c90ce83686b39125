// Edit: images in order, a mask over the first, and every turn as a branch of a tree.

import { button, complain, dialog, empty, field, h, iconButton, later, submitButton, toast } from "./dom.js";
import { follow, get, Ids, jobs, post, recall, remember, source, submit, thumbnail } from "./api.js";
import { actions, cardList, sentence } from "./cards.js";
import { familyTree } from "./detail.js";
import { describe } from "./images.js";
import { MaskEditor } from "./mask.js";
import { EstimateLine, Parameters } from "./parameters.js";

const MOST = 16;

export function editPage(node, app) {
  let inputs = recall("edit.inputs", []);
  let running = null;
  const ids = new Ids();
  const prompt = h("textarea", { class: "prompt-box", name: "prompt", placeholder: "What should change? What must stay?", value: recall("edit.prompt", ""), oninput: changed });
  const parameters = new Parameters("edit", changed);
  const estimate = new EstimateLine(parameters);
  const send = submitButton("Edit image");
  const keep = h("input", { type: "checkbox", name: "outside", onchange: () => remember("edit.keep", keep.checked) });
  keep.checked = recall("edit.keep", true);
  const maskNote = h("p", { class: "small soft", text: "Without a mask, all of it may change." });
  const mask = new MaskEditor((marked) => { maskNote.textContent = marked ? "Only what is painted may change." : "Without a mask, all of it may change."; keep.disabled = !marked; changed(); });
  const strip = h("ol", { class: "strip", "aria-label": "Images to start from, in order" });
  const files = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true, "aria-label": "Image files", onchange: () => add([...files.files]) });
  const stage = h("div", { class: "stage" });
  const before = h("div", { class: "tools", hidden: true });
  const tree = h("div", {});
  const turns = h("div", { class: "cards" });
  const edits = h("section", { "aria-label": "Edits", hidden: true }, h("h3", { text: "Edits" }), turns);
  const add_ = () => h("div", { class: "row" }, button("Choose files", () => files.click(), { picture: "plus" }), button("From the gallery", pick, { picture: "gallery" }));
  const form = h("form", { class: "sheet stack panel", "aria-label": "What to change", onsubmit: (event) => { event.preventDefault(); start(); } },
    h("div", {}, h("p", { class: "label", text: `Images (1 to ${MOST}; the mask belongs to the first)` }), strip,
      h("div", { class: "drop" }, h("p", { text: "Drop or paste images anywhere" }), add_())),
    field("Prompt", prompt),
    h("div", {}, maskNote, h("label", { class: "check" }, keep, "Keep every pixel outside the mask (outside: keep)")), parameters.node, h("div", { class: "act" }, parameters.help, estimate.node, send), files);
  form.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.repeat && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
  node.append(h("div", { class: "page-head" }, h("h1", { text: "Edit" })), h("div", { class: "split" }, form,
    h("section", { "aria-label": "Image" }, mask.tools, before, stage, h("div", { class: "below" }, tree,
      edits))));
  cardList(turns, (job) => Boolean(job.request.images), { open: app.open, again: use }, { most: 12, changed: (count) => { edits.hidden = !count; } });

  const first = () => inputs[0]?.source;

  function changed() {
    remember("edit.prompt", prompt.value);
    send.disabled = !inputs.length || !prompt.value.trim() || running !== null;
    estimate.update(inputs.length && prompt.value.trim() ? body() : null, 1);
  }

  function body() {
    return { ...parameters.request(), prompt: prompt.value.trim(), images: inputs.map((each) => each.source) };
  }

  /** Show the first image with its mask, or what to do when there is none. */
  function draw() {
    remember("edit.inputs", inputs);
    strip.replaceChildren(...inputs.map((each, index) => h("li", {}, h("div", { class: "thumb" }, h("img", { src: source(each.source), alt: `Image ${index + 1}` })),
      h("b", { "aria-hidden": "true", text: index + 1 }), h("div", { class: "row" },
        iconButton("left", `Move image ${index + 1} forward`, () => swap(index, index - 1), { disabled: index === 0 }),
        iconButton("close", `Take image ${index + 1} away`, () => { inputs.splice(index, 1); draw(); }),
        iconButton("right", `Move image ${index + 1} back`, () => swap(index, index + 1), { disabled: index === inputs.length - 1 })))));
    showMask();
    changed();
    family().catch(complain);
  }

  function showMask() {
    before.hidden = true;
    mask.tools.hidden = false;
    mask.tools.inert = !inputs.length;
    if (!inputs.length) {
      stage.replaceChildren(empty("edit", "Start from an image", "Drop one here, paste it, or take one from the gallery. Paint over the part that may change; the rest is the model's to keep.", add_()));
      return;
    }
    stage.replaceChildren(mask.area);
    const url = first().startsWith("upload:") ? source(first()) : `images/${first()}`;
    if (mask.url !== url) { mask.url = url; mask.show(url); }
  }

  function swap(one, other) { [inputs[one], inputs[other]] = [inputs[other], inputs[one]]; draw(); }

  async function add(blobs) {
    for (const blob of blobs) {
      if (inputs.length >= MOST) { toast(`An edit starts from ${MOST} images at most.`); break; }
      try { inputs.push(await post("api/uploads", blob)); } catch (error) { complain(error); }
    }
    files.value = "";
    draw();
  }

  function pick() {
    const find = h("input", { type: "search", placeholder: "Search", "aria-label": "Search the gallery", oninput: later(200, load) });
    const list = h("ul", {});
    const box = dialog("Choose from the gallery", h("div", { class: "picker" }, h("div", { class: "row" }, h("h2", { class: "grow", text: "Choose from the gallery" }),
      iconButton("close", "Close", () => box.close())), find, list));
    async function load() {
      try {
        const found = await get(`api/images?${new URLSearchParams({ text: find.value })}`);
        list.replaceChildren(...found.images.filter((each) => each.format !== "svg").map((each) => h("li", {}, h("button", { type: "button", "aria-label": each.prompt || each.id,
          onclick: () => { box.close(); if (inputs.length < MOST) inputs.push({ source: each.id }); draw(); } }, h("img", { src: thumbnail(each.id), alt: "", loading: "lazy" })))));
        if (!found.images.length) list.replaceChildren(h("li", { class: "soft", text: "No image matches." }));
      } catch (error) { complain(error); }
    }
    load();
  }

  async function start() {
    if (running !== null || !inputs.length || !prompt.value.trim()) return;
    running = "";
    send.disabled = true;
    try {
      const request = body();
      const painted = await mask.blob();
      if (painted) {
        request.mask = (await post("api/uploads", painted)).source;
        // Models change more than they were asked to: what the mask protects is put back here.
        if (keep.checked) request.outside = "keep";
      }
      running = ids.of(request);
      await submit({ id: running, ...request });
      ids.arrived();
    } catch (error) {
      running = null;
      changed();
      if (error.field) parameters.refuse(error); else complain(error);
    }
  }

  /** Follow the edit on the stage: its preview, then before and after under one slider. */
  function watch(job) {
    job ??= jobs.get(running); // it may have ended while nobody looked at this tab
    if (!job || job.id !== running) return;
    before.hidden = false;
    mask.tools.hidden = true;
    before.replaceChildren(h("p", { class: "grow small num", role: "status", text: sentence(job) }), ...actions(job));
    if (job.live) {
      const shown = job.preview ?? (first().startsWith("upload:") ? source(first()) : thumbnail(first(), 768));
      stage.replaceChildren(h("div", { class: "compare frame busy preview" }, h("img", { src: shown, alt: "The edit so far" })));
      return;
    }
    running = null;
    send.disabled = false;
    if (job.state === "done") compare(job);
    else before.append(button("Back to the mask", showMask, { kind: "tiny" }));
    if (!job.images.length) stage.replaceChildren(empty("alert", "There is no new image", sentence(job)));
  }

  function compare(job) {
    const name = job.request.images[0];
    const after = h("img", { src: `images/${job.images[0]}`, alt: "After" });
    const range = h("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": "Before and after: how much of the image before is shown" });
    const line = h("div", { class: "line" });
    const slide = () => { after.style.clipPath = `inset(0 0 0 ${range.value}%)`; line.style.left = `${range.value}%`; };
    range.addEventListener("input", slide);
    stage.replaceChildren(h("div", { class: "compare" }, h("img", { src: name.startsWith("upload:") ? source(name) : `images/${name}`, alt: "Before" }), after, line, range,
      h("p", { class: "before", text: "Before" }), h("p", { class: "after", text: "After" })));
    slide();
    before.append(button("Go on from this", () => startFrom(job.images[0]), { kind: "tiny", picture: "right" }),
      button("Another try", showMask, { kind: "tiny" }), button("Details", () => app.open(job.images[0]), { kind: "tiny quiet" }));
    family(job.images[0]).catch(complain);
  }

  async function family(id = first()) {
    if (!id || id.startsWith("upload:")) { tree.replaceChildren(); return; }
    const found = await describe(id).catch((error) => { inputs = inputs.filter((each) => each.source !== id); remember("edit.inputs", inputs); throw error; });
    tree.replaceChildren(h("h3", { text: "Turns" }), h("p", { class: "small soft", text: "Choose any image to go on from there: that begins a branch." }),
      familyTree(found.family, id, startFrom));
  }

  function startFrom(id) { inputs = [{ source: id }, ...inputs.slice(1)]; draw(); }

  function use(job) {
    const { prompt: text, images, mask: _, tags: __, ...rest } = job.request;
    prompt.value = text;
    inputs = images.map((each) => ({ source: each }));
    parameters.use(rest);
    draw();
  }

  const taken = (transfer) => [...transfer.files].filter((file) => file.type.startsWith("image/"));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (taken(event.dataTransfer).length) { app.go("edit"); add(taken(event.dataTransfer)); }
  });
  addEventListener("paste", (event) => { if (taken(event.clipboardData).length) { app.go("edit"); add(taken(event.clipboardData)); } });
  follow(watch);
  draw();
  return { start: (id) => { inputs = [{ source: id }]; draw(); prompt.focus(); } };
}
