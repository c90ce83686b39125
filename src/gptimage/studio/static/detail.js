// One image: large, with everything that is known of it, its family, and what to do with it.

import { button, complain, dialog, field, h, iconButton, toast, usd, when } from "./dom.js";
import { seen, thumbnail } from "./api.js";
import { change, copyImage, copyText, describe, remove, save, writeAlt } from "./images.js";

/** The family of an image as a nested list: branches where one image was changed twice. */
export function familyTree(family, current, choose) {
  const children = new Map();
  for (const each of family) {
    const parent = family.some((other) => other.id === each.parent) ? each.parent : null;
    children.set(parent, [...(children.get(parent) ?? []), each]);
  }
  const branch = (parent) => (children.get(parent) ?? []).map((each) => h("li", {},
    h("button", { type: "button", "aria-current": each.id === current ? "true" : null, onclick: () => choose(each.id) },
      h("img", { src: thumbnail(each.id), alt: "", loading: "lazy" }), h("span", { text: each.prompt || "without a prompt" })),
    children.has(each.id) && h("ul", {}, branch(each.id))));
  return h("ul", { class: "tree" }, branch(null));
}

export async function openDetail(id, app) {
  let image = await describe(id);
  const box = dialog("Image", h("div", { class: "detail" }));
  const step = (by) => {
    const next = app.ids[app.ids.indexOf(image.id) + by];
    if (next) show(next);
  };
  box.addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea")) return;
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });
  const show = async (other) => {
    try { image = await describe(other); draw(); } catch (error) { complain(error); }
  };

  function draw() {
    const at = app.ids.indexOf(image.id);
    const shown = h("img", { src: `images/${image.id}`, alt: image.alt ?? image.prompt.slice(0, 300), width: image.width, height: image.height });
    const view = h("div", { class: "view" }, shown,
      at > 0 && iconButton("left", "Image before", () => step(-1), { class: "icon-button prev" }),
      at >= 0 && at < app.ids.length - 1 && iconButton("right", "Next image", () => step(1), { class: "icon-button next" }));
    box.firstChild.replaceChildren(view, facts());
  }

  function facts() {
    const pin = iconButton("pin", image.pinned ? "Unpin" : "Pin: never pruned or deleted", async () => {
      try { Object.assign(image, await change(image.id, { pinned: !image.pinned }, app)); draw(); } catch (error) { complain(error); }
    }, { "aria-pressed": String(image.pinned) });
    const close = () => box.close();
    return h("div", { class: "facts" },
      h("div", { class: "row" }, h("h2", { class: "grow", text: "Image" }), pin,
        iconButton("copy", "Copy the image", () => copyImage(image.id).catch(complain)),
        seen.status.may_delete && iconButton("trash", "Delete", () => { if (image.pinned) { toast("It is pinned: unpin it first."); return; } close(); remove([image.id], app).catch(complain); }),
        iconButton("close", "Close", close)),
      h("p", { class: "long", text: image.prompt || "No prompt is known." }),
      h("div", { class: "acts" },
        button("Edit", () => { close(); app.edit(image.id); }, { picture: "edit" }),
        image.operation === "generate" && button("Make again", () => { close(); app.again(image.facts.request); }, { picture: "again" }),
        h("a", { class: "button", href: `images/${image.id}`, download: `${image.id}.${image.format}`, text: "Download" }),
        button("For the web", () => save([image.id], "web").catch(complain), { title: "WebP and JPEG in several widths, with a page that chooses by srcset" }),
        button("Similar", () => { close(); app.similar(image.id); }),
        button("Copy prompt", () => copyText(image.prompt, "The prompt").catch(complain))),
      table([["Size", `${image.width ?? "?"} × ${image.height ?? "?"} ${image.format}`], ["Model", image.model],
        ["Cost", usd(image.cost_usd) + (image.sandbox ? " (sandbox: not billed)" : "")], ["Made", when(image.created)], ["Id", image.id]]),
      tags(), altText(),
      image.family.length > 1 && h("div", {}, h("h3", { text: "Where it comes from, and what was made of it" }), familyTree(image.family, image.id, show)),
      h("details", {}, h("summary", { text: "Everything in its sidecar" }), table(Object.entries(image.facts).map(([name, value]) =>
        [name, typeof value === "string" ? value : JSON.stringify(value, null, 1)]))));
  }

  function tags() {
    const input = h("input", { placeholder: "Add a tag", autocomplete: "off" });
    const set = async (wanted) => {
      try { Object.assign(image, await change(image.id, wanted, app)); draw(); } catch (error) { complain(error); }
    };
    input.addEventListener("keydown", (event) => { if (event.key === "Enter" && input.value.trim()) set({ tag: input.value.trim() }); });
    return h("div", {}, field("Tags", input), h("div", { class: "row sizes" }, image.tags.map((tag) =>
      h("button", { type: "button", class: "chip", title: `Take the tag ${tag} away`, text: `${tag} ✕`, onclick: () => set({ untag: tag }) }))));
  }

  function altText() {
    const text = h("textarea", { rows: "2", value: image.alt ?? "", placeholder: "What a screen reader says instead of the image" });
    const set = async (words) => { try { Object.assign(image, await change(image.id, { alt: words }, app)); toast("The alt text is saved with the image."); } catch (error) { complain(error); } };
    const write = async (event) => {
      event.target.disabled = true;
      try { text.value = image.alt = await writeAlt(image.id); app.status(); } catch (error) { complain(error); }
      event.target.disabled = false;
    };
    const element = () => h("img", { src: `${image.id}.${image.format}`, width: image.width, height: image.height, alt: text.value, loading: "lazy" }).outerHTML;
    return h("div", {}, field("Alt text", text), h("div", { class: "acts" }, button("Save", () => set(text.value.trim()), { kind: "tiny" }),
      button("Write it for me", write, { kind: "tiny", title: "One turn of the chat model: it looks at the image, and costs a little" }),
      button("Copy text", () => copyText(text.value, "The alt text").catch(complain), { kind: "tiny" }),
      button("Copy HTML", () => copyText(element(), "The HTML").catch(complain), { kind: "tiny" })));
  }

  draw();
  return box;
}

function table(rows) {
  return h("dl", { class: "table" }, rows.map(([name, value]) => [h("dt", { text: name }), h("dd", { text: value })]));
}
