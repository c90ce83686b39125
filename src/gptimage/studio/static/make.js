// Make: a prompt or a template, the model's parameters, and every image as it comes.

import { button, complain, empty, field, h, later, plural, submitButton, toast } from "./dom.js";
import { Ids, post, recall, remember, seen, submit } from "./api.js";
import { cardList } from "./cards.js";
import { EstimateLine, Parameters } from "./parameters.js";

const EXAMPLES = [
  "A red fox asleep in fresh snow, soft morning light, 35 mm photograph",
  "Poster for a jazz night: bold shapes, two colours, the words \"BLUE NOTE\"",
  "Isometric cutaway of a tiny bookshop, warm lamps, rain outside",
];

export function makePage(node, { open, go }) {
  const draft = recall("make", { prompt: "", many: false, template: "", arguments: {} });
  const prompt = h("textarea", { class: "prompt-box", name: "prompt", placeholder: "What should the image show?", value: draft.prompt, oninput: changed });
  const many = h("input", { type: "checkbox", onchange: changed });
  many.checked = draft.many;
  const half = h("input", { type: "checkbox", name: "half", onchange: changed });
  const template = h("select", { onchange: () => { draft.arguments = {}; choose(); changed(); } }, h("option", { value: "", text: "None: write the prompt yourself" }),
    seen.catalogue.templates.map((each) => h("option", { value: each.name, text: each.title })));
  template.value = draft.template;
  const argumentsNode = h("div", { class: "stack", hidden: true });
  const rendered = h("p", { class: "small soft", hidden: true });
  const tags = h("input", { name: "tags", placeholder: "launch, hero", autocomplete: "off", oninput: changed });
  const parameters = new Parameters("generate", changed);
  const estimate = new EstimateLine(parameters);
  const send = submitButton("Make image");
  const promptField = h("div", {}, field("Prompt", prompt), h("label", { class: "check" }, many, "One image for each line"));
  const halfField = h("label", { class: "check" }, half, "Half price, within a day (Batch API)");
  const form = h("form", { class: "sheet stack panel", "aria-label": "What to make", onsubmit: (event) => { event.preventDefault(); start(); } },
    promptField, field("Template", template), argumentsNode, rendered, parameters.node, field("Tags for the store", tags), halfField,
    h("div", { class: "act" }, parameters.help, estimate.node, send));
  form.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.repeat && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });

  const list = h("div", { class: "cards" });
  const hint = empty("make", "Your first image starts with a sentence",
    "Say what is in it, where, in which light and style. Each call is saved with its prompt, its parameters and what it cost.",
    EXAMPLES.map((text) => button(text.length > 46 ? `${text.slice(0, 44)}…` : text, () => { prompt.value = text; changed(); prompt.focus(); }, { kind: "tiny" })));
  node.append(h("div", { class: "page-head" }, h("h1", { text: "Make" })),
    h("div", { class: "split" }, form, h("section", { "aria-label": "Results" }, hint, list)));
  cardList(list, (job) => !job.request.images, { open, again: use }, { changed: (count) => { hint.hidden = count > 0; } });

  function prompts() {
    if (template.value) return draft.rendered ? [draft.rendered] : [];
    const text = prompt.value.trim();
    return many.checked ? text.split("\n").map((each) => each.trim()).filter(Boolean) : text ? [text] : [];
  }

  function body(text) {
    const found = { ...parameters.request(), prompt: text };
    if (half.checked) delete found.partial_images;
    const words = tags.value.split(",").map((each) => each.trim()).filter(Boolean);
    if (words.length) found.tags = words;
    if (template.value && !half.checked) found.template = template.value;
    return found;
  }

  function changed() {
    Object.assign(draft, { prompt: prompt.value, many: many.checked, template: template.value });
    remember("make", draft);
    if (template.value) render(); else update();
  }

  function update() {
    const wanted = prompts();
    const images = wanted.length * (Number(parameters.values.n) || 1);
    const verb = half.checked ? "Submit" : "Make";
    send.textContent = images > 1 ? `${verb} ${plural(images, "image")}` : `${verb} image`;
    send.disabled = !wanted.length;
    estimate.update(wanted.length ? body(wanted[0]) : null, wanted.length, half.checked);
  }

  let asked = 0;
  const ask = later(200, async (mine) => {
    const name = template.value;
    try {
      const found = await post("api/render", { template: name, arguments: draft.arguments });
      if (name !== template.value || mine !== asked) return;
      draft.rendered = found.prompt;
      rendered.textContent = found.prompt;
      parameters.help.classList.remove("error");
      if (JSON.stringify(found.recommended) !== draft.recommended) {
        draft.recommended = JSON.stringify(found.recommended);
        for (const [key, value] of Object.entries(found.recommended)) parameters.values[key] = value;
        parameters.build();
      }
    } catch (error) {
      if (mine !== asked) return;
      rendered.textContent = error.message;
    }
    update();
  });
  /** Until the new prompt is there, nothing can be sent: the old one is not what the form says. */
  function render() { draft.rendered = ""; send.disabled = true; ask(++asked); }

  function choose() {
    const spec = seen.catalogue.templates.find((each) => each.name === template.value);
    promptField.hidden = Boolean(spec);
    argumentsNode.hidden = rendered.hidden = !spec;
    draft.rendered = draft.recommended = "";
    rendered.textContent = "";
    argumentsNode.replaceChildren(...(spec ? [h("p", { class: "small soft", text: spec.description }), ...spec.arguments.map(argument)] : []));
  }

  function argument(spec) {
    const value = draft.arguments[spec.name] ?? spec.default ?? "";
    const options = spec.type === "boolean" ? ["true", "false"] : spec.choices;
    const set = () => { draft.arguments[spec.name] = control.value; changed(); };
    let control;
    if (options.length) {
      control = h("select", { onchange: set }, h("option", { value: "", text: spec.required ? "choose…" : "not given" }),
        options.map((each) => h("option", { value: each, text: each })));
      control.value = String(value);
    } else {
      control = h("input", { value, type: spec.type === "integer" ? "number" : "text", maxlength: spec.max_length, autocomplete: "off", oninput: set });
      if (spec.suggestions.length) {
        const id = `suggest-${spec.name}`;
        control.setAttribute("list", id);
        return h("div", {}, field(label(spec), control), h("datalist", { id }, spec.suggestions.map((each) => h("option", { value: each }))),
          h("p", { class: "small soft", text: spec.description }));
      }
    }
    return h("div", {}, field(label(spec), control), h("p", { class: "small soft", text: spec.description }));
  }

  function label(spec) { return spec.name.replaceAll("_", " ") + (spec.required ? "" : " (optional)"); }

  const ids = new Ids();
  let sending = false;
  async function start() {
    const wanted = prompts();
    if (sending || !wanted.length) return;
    sending = send.disabled = true;
    if (innerWidth <= 1000) list.parentElement.scrollIntoView({ block: "start" });
    const all = wanted.map((text) => body(text));
    try {
      if (half.checked) {
        await post("api/batches", { id: ids.of(all), requests: all });
        toast("Submitted. It is under Jobs; its images are ready within a day.");
      } else for (const [place, each] of all.entries()) await submit({ id: ids.of(each, place), ...each });
      ids.arrived();
    } catch (error) {
      if (error.field) parameters.refuse(error); else complain(error);
    }
    sending = send.disabled = false;
  }

  /** Fill the form from an earlier request. */
  function use(job) {
    const { prompt: text, template: _, tags: __, images: ___, ...rest } = job.request;
    template.value = "";
    choose();
    prompt.value = text;
    parameters.use(rest);
    go("make");
    prompt.focus();
  }

  choose();
  changed();
  return { use };
}
