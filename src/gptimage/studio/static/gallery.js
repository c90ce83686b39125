// Gallery: every image of the store. Only the tiles near the window are in the document.

import { button, complain, dialog, empty, field, h, icon, iconButton, later, plural, toast } from "./dom.js";
import { follow, get, seen, thumbnail } from "./api.js";
import { change, remove, save } from "./images.js";

const GAP = 12;

export function galleryPage(node, app) {
  let images = [];
  let next = null;
  let unhashed = 0;
  let loading = false;
  let active = 0;
  let layout = { columns: 1, size: 0 };
  let asked = 0;
  let like = null;
  const gone = new Set();
  const selected = new Set();
  const tiles = new Map();

  const choice = (name, label, values) => {
    const select = h("select", { name, "aria-label": label, onchange: reload }, h("option", { value: "", text: label }),
      values.map(([value, text]) => h("option", { value, text })));
    return select;
  };
  const text = h("input", { type: "search", class: "find", name: "text", placeholder: "Search prompts and tags", "aria-label": "Search prompts and tags", oninput: later(200, reload) });
  const tag = h("input", { class: "short", name: "tag", placeholder: "Tag", "aria-label": "Tag", list: "known-tags", autocomplete: "off", oninput: later(200, reload) });
  const known = h("datalist", { id: "known-tags" });
  const since = h("input", { class: "short", type: "date", name: "since", onchange: reload });
  const filters = [text, choice("model", "Every model", seen.status.models.map((each) => [each, each])),
    choice("operation", "Made and edited", [["generate", "Made"], ["edit", "Edited"]]),
    choice("format", "Every format", seen.status.formats.map((each) => [each, each])),
    choice("pinned", "Pinned or not", [["true", "Pinned"], ["false", "Not pinned"]]), tag, since];
  const grid = h("div", { class: "grid", role: "listbox", "aria-label": "Images", "aria-multiselectable": "true", tabindex: "0" });
  const like_ = button("Similar images: show all again", () => similar(null), { kind: "tiny" });
  like_.hidden = true;
  const search = h("div", { class: "filters", role: "search" }, filters.slice(0, -1), h("label", { class: "row", title: "Saved on this day or later" }, "Since", since), known);
  const hint = h("div", { hidden: true });
  const total = h("p", { class: "num", "aria-live": "polite" });
  const bar = h("div", { class: "picked", role: "toolbar", "aria-label": "Chosen images", hidden: true });
  node.append(h("div", { class: "page-head" }, h("div", {}, h("h1", { text: "Gallery" }), total),
    h("p", { class: "small", text: "Arrow keys move, Enter opens, Space chooses, P pins, Delete deletes, / searches." })),
    search, like_, hint, grid, bar);

  function query(cursor) {
    const found = new URLSearchParams(like ? { similar: like } : {});
    if (like) return found;
    for (const each of filters) if (each.value) found.set(each.name, each.value);
    if (cursor) found.set("cursor", cursor);
    return found;
  }

  async function reload() {
    const mine = ++asked;
    try {
      const found = await get(`api/images?${query()}`);
      if (mine !== asked) return;
      images = found.images.filter((each) => !gone.has(each.id));
      next = found.next;
      unhashed = found.unhashed;
      active = Math.min(active, Math.max(0, images.length - 1));
      draw();
    } catch (error) { complain(error); }
  }

  async function more() {
    if (!next || loading) return;
    const mine = asked;
    loading = true;
    const found = await get(`api/images?${query(next)}`).catch(complain);
    loading = false;
    if (!found || mine !== asked) return;
    images.push(...found.images.filter((each) => !gone.has(each.id)));
    next = found.next;
    draw();
  }

  function measure() {
    const width = grid.clientWidth;
    const columns = Math.max(2, Math.round(width / 230));
    layout = { columns, size: Math.floor((width - GAP * (columns - 1)) / columns) };
  }

  function draw() {
    measure();
    const filtered = query().size > 0;
    const rest = next ? ", more below"
      : unhashed ? `; ${unhashed} older ones were not compared yet: open Similar again for the next 250` : "";
    total.textContent = next && !filtered ? plural(seen.status.images, "image") : `${plural(images.length, "image")}${rest}`;
    known.replaceChildren(...[...new Set(images.flatMap((each) => each.tags))].sort().map((each) => h("option", { value: each })));
    hint.hidden = images.length > 0;
    grid.hidden = !images.length;
    if (!images.length) {
      hint.replaceChildren(filtered
        ? like ? empty("search", "Nothing looks like it", "Copies, other sizes and small changes are found; another image of the same prompt is seldom alike.")
          : empty("search", "Nothing matches", "Words must all be in the prompt or the tags. “red fox” in quotes is a phrase, light* finds words that begin so.",
          button("Show everything", () => { for (const each of filters) each.value = ""; reload(); }))
        : empty("gallery", "Every image you make is saved here", "With its prompt, its parameters and its cost, so that you can find it, change it and make it again.",
          button("Make the first one", () => app.go("make"), { picture: "make" })));
    }
    place();
    marked();
  }

  /** Put the tiles near the window into the document, and take the others out. */
  function place() {
    if (node.hidden || !images.length) return;
    const { columns, size } = layout;
    const row = size + GAP;
    grid.style.height = `${Math.ceil(images.length / columns) * row}px`;
    const top = -grid.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor((top - innerHeight * 0.7) / row)) * columns;
    const to = Math.min(images.length, Math.ceil((top + innerHeight * 1.7) / row) * columns);
    const wanted = new Set(images.slice(from, to).map((each) => each.id));
    for (const [id, tile] of tiles) if (!wanted.has(id)) { tile.remove(); tiles.delete(id); }
    for (let index = from; index < to; index++) {
      const image = images[index];
      let tile = tiles.get(image.id);
      if (tile?.image !== image && JSON.stringify(tile?.image) !== JSON.stringify(image)) { tile?.remove(); tiles.set(image.id, tile = makeTile(image)); }
      tile.image = image;
      const before = grid.children[index - from];
      if (before !== tile) grid.insertBefore(tile, before ?? null); // in their order also for who has them read out
      tile.style.width = tile.style.height = `${size}px`;
      tile.style.transform = `translate(${(index % columns) * row}px, ${Math.floor(index / columns) * row}px)`;
      tile.setAttribute("aria-posinset", index + 1);
      tile.setAttribute("aria-setsize", next ? -1 : images.length);
    }
    if (to >= images.length - columns * 6) more();
    point();
  }

  function makeTile(image) {
    const picture = h("img", { alt: "", decoding: "async", src: thumbnail(image.id), onload: () => picture.classList.add("here") });
    const tile = h("div", { class: "tile", role: "option", id: `tile-${image.id}`, "data-id": image.id,
      "aria-label": `${image.alt || image.prompt || "Without a prompt"}, ${image.width ?? "?"} by ${image.height ?? "?"}, ${image.model}${image.pinned ? ", pinned" : ""}`,
      "aria-selected": String(selected.has(image.id)) }, picture, h("span", { class: "pick" }),
      h("div", { class: "over" }, h("span", { text: image.prompt })), image.pinned && h("div", { class: "marks" }, icon("pin")));
    return tile;
  }

  function point() {
    for (const tile of grid.querySelectorAll(".active")) tile.classList.remove("active");
    const image = images[active];
    const tile = image && tiles.get(image.id);
    if (!tile) { grid.removeAttribute("aria-activedescendant"); return; }
    tile.classList.add("active");
    grid.setAttribute("aria-activedescendant", tile.id);
  }

  function move(to) {
    active = Math.max(0, Math.min(images.length - 1, to));
    const row = layout.size + GAP;
    const top = grid.getBoundingClientRect().top + scrollY + Math.floor(active / layout.columns) * row;
    if (top < scrollY + 80) scrollTo({ top: top - 90 });
    else if (top + row > scrollY + innerHeight - 80) scrollTo({ top: top + row - innerHeight + 90 });
    place();
  }

  function toggle(id) {
    if (selected.has(id)) selected.delete(id); else selected.add(id);
    marked();
  }

  function marked() {
    for (const [id, tile] of tiles) tile.setAttribute("aria-selected", String(selected.has(id)));
    grid.classList.toggle("picking", selected.size > 0);
    bar.hidden = !selected.size;
    if (!selected.size) return;
    const ids = [...selected];
    const each = async (wanted) => { try { for (const id of ids) await change(id, wanted, app); } catch (error) { complain(error); } };
    const export_ = (kind) => save(ids, kind).catch(complain);
    bar.replaceChildren(h("strong", { class: "num", text: `${selected.size} chosen` }),
      button("Download", () => export_("originals"), { kind: "tiny quiet", picture: "download" }),
      button("For the web", () => export_("web"), { kind: "tiny quiet" }),
      button("Contact sheet", () => export_("sheet"), { kind: "tiny quiet" }),
      button("Tag", () => askTag((tag) => each({ tag })), { kind: "tiny quiet" }),
      button("Pin", () => each({ pinned: true }), { kind: "tiny quiet", picture: "pin" }),
      ...(seen.status.may_delete ? [button("Delete", () => drop(ids), { kind: "tiny quiet danger", picture: "trash" })] : []),
      iconButton("close", "Choose none", () => { selected.clear(); marked(); }));
  }

  function askTag(use) {
    const word = h("input", { required: true, list: "known-tags", autocomplete: "off" });
    const box = dialog("Tag the chosen images", h("form", { class: "picker small-dialog", method: "dialog", onsubmit: () => use(word.value.trim()) },
      field("Tag for the chosen images", word), h("div", { class: "row" }, h("button", { class: "button", text: "Add the tag" }),
        button("Cancel", () => box.close(), { kind: "quiet" }))));
  }

  function drop(ids) {
    if (!seen.status.may_delete) { toast("Images cannot be deleted on this server."); return; }
    const free = ids.filter((id) => !images.find((each) => each.id === id)?.pinned);
    if (free.length < ids.length) toast("Pinned images stay: unpin them first.");
    if (free.length) remove(free, app).catch(complain);
  }

  /** Show what looks like an image; everything again with null. */
  function similar(id) {
    like = id;
    search.hidden = Boolean(id);
    like_.hidden = !id;
    reload();
  }

  function removed(id) {
    gone.add(id);
    selected.delete(id);
    images = images.filter((each) => each.id !== id);
    draw();
  }

  function restored(ids) {
    for (const id of ids) gone.delete(id);
    reload();
  }

  function changed(image) {
    const index = images.findIndex((each) => each.id === image.id);
    if (index < 0) return;
    images[index] = image;
    place();
  }

  const open = (id) => app.open(id, images.map((each) => each.id));
  grid.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    active = images.findIndex((each) => each.id === tile.dataset.id);
    if (event.target.closest(".pick") || event.ctrlKey || event.metaKey) toggle(tile.dataset.id);
    else if (event.shiftKey && selected.size) range(); else open(tile.dataset.id);
    point();
  });

  function range() {
    const last = images.findIndex((each) => each.id === [...selected].at(-1));
    for (let index = Math.min(last, active); index <= Math.max(last, active); index++) selected.add(images[index].id);
    marked();
  }

  grid.addEventListener("keydown", (event) => {
    const image = images[active];
    const page = Math.max(1, Math.floor(innerHeight / (layout.size + GAP)) - 1) * layout.columns;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: layout.columns, ArrowUp: -layout.columns, PageDown: page, PageUp: -page, Home: -active, End: images.length };
    if (event.key in steps) move(active + steps[event.key]);
    else if (event.key === "Enter") open(image.id);
    else if (event.key === " ") toggle(image.id);
    else if (event.key === "Escape") { selected.clear(); marked(); }
    else if (event.key.toLowerCase() === "p") change(image.id, { pinned: !image.pinned }, app).catch(complain);
    else if (event.key === "Delete" || event.key === "Backspace") drop(selected.size ? [...selected] : [image.id]);
    else return;
    event.preventDefault();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !node.hidden && !event.target.closest?.("input, textarea, select, dialog")) { event.preventDefault(); text.focus(); }
  });
  let frame = 0;
  addEventListener("scroll", () => { frame ||= requestAnimationFrame(() => { frame = 0; place(); }); }, { passive: true });
  new ResizeObserver(() => { if (!node.hidden && grid.clientWidth) { measure(); place(); } }).observe(grid);
  follow((job) => { if (job?.state === "done" && job.images.some((id) => !images.some((each) => each.id === id))) stale = true; if (stale && !node.hidden) shown(); });
  let stale = true;
  function shown() { if (stale) { stale = false; reload(); } else place(); }
  return { removed, restored, changed, similar, shown };
}
