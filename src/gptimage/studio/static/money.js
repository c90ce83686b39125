// Money: what was spent, on what, what is left, and what only the bill can tell.

import { complain, empty, h, plural, s, usd, when } from "./dom.js";
import { get, post } from "./api.js";

export function moneyPage(node, app) {
  const body = h("div", {});
  node.append(h("div", { class: "page-head" }, h("div", {}, h("h1", { text: "Money" }),
    h("p", { text: "The last 30 days (UTC), from the usage the service returned and the prices of the day." }))), body);

  async function shown() {
    try { draw(await get("api/money")); } catch (error) { complain(error); }
  }

  function draw(found) {
    if (!found.ledger) {
      body.replaceChildren(empty("money", "The ledger is off", "Set the setting `ledger` and every call is entered with its cost: gptimage config shows where."));
      return;
    }
    const { total } = found;
    const limits = Object.entries(found.limits).map(([per, amount]) => `${usd(amount)} a ${per}`).join(", ");
    const figures = [["Spent", usd(total.cost_usd), found.sandbox ? "of the sandbox: not billed" : `${plural(total.images, "image")}, ${plural(total.calls, "call")}${total.unpriced ? `, of ${total.unpriced} the price is not known` : ""}`],
      ["May still be billed", usd(total.reserved_usd), plural(total.unknown, "call of unknown outcome", "calls of unknown outcome")],
      ["Left", found.left_usd === null ? "no limit" : usd(found.left_usd), limits || "set one: GPTIMAGE_BUDGET=5/day"],
      ["Saved by the cache", found.cache ? usd(found.cache.saved_usd) : "off", found.cache ? `${plural(found.cache.hits, "hit")} of ${plural(found.cache.hits + found.cache.misses, "call")}` : "set one: GPTIMAGE_CACHE=on"]];
    const days = new Map(found.by_day.map((each) => [each.name, each]));
    body.replaceChildren(h("dl", { class: "figures" }, figures.map(([name, value, note]) => h("div", { class: "sheet" }, h("dt", { text: name }), h("dd", {}, value, h("small", { text: note }))))),
      ...(found.unknown.length ? [unknown(found.unknown)] : []),
      h("div", { class: "charts" }, h("section", { class: "sheet wide", "aria-label": "Spending by day" }, h("h2", { text: "By day" }),
        columns(found.days.map((day) => ({ name: day, cost_usd: days.get(day)?.cost_usd ?? "0", images: days.get(day)?.images ?? 0 })))),
        bars("By model", found.by_model), bars("By operation", found.by_operation), bars("By project", found.by_project, "Tag images project:NAME and see here what each project cost."), bars("By tag", found.by_tag, "Tag images (launch, client-x, …) and see here what each cost.")));
  }

  /** Calls that may have been billed: only the service's own page knows, and a person reads it. */
  function unknown(rows) {
    return h("section", { class: "sheet", "aria-label": "Unknown outcomes" }, h("h2", { text: "Look and decide" }),
      h("p", { class: "soft", text: "These were sent, and no usable response came. Look at the usage page of your account, and enter what each cost: 0 when it is not there." }),
      h("ul", { class: "unknown" }, rows.map((row) => {
        const amount = h("input", { type: "number", min: "0", step: "any", required: true, "aria-label": "What it cost in USD", placeholder: "USD" });
        return h("li", {}, h("span", {}, h("strong", { text: `${row.operation}, ${row.model}` }), h("br", {}),
          h("span", { class: "small soft", text: `${when(row.at)} · counts ${usd(row.counted_usd)} · ${row.error ?? ""} ${row.request_id ?? ""}` })),
          h("form", { onsubmit: async (event) => {
            event.preventDefault();
            try { await post(`api/money/${encodeURIComponent(row.id)}`, { cost_usd: amount.value }); await shown(); app.status(); } catch (error) { complain(error); }
          } }, amount, h("button", { class: "button", type: "submit", text: "Enter" })));
      })));
  }

  function columns(days) {
    const most = Math.max(...days.map((each) => Number(each.cost_usd)), 1e-9);
    const width = 900, height = 150, step = width / days.length;
    const spent = days.filter((each) => Number(each.cost_usd) > 0);
    const chart = s("svg", { class: "chart", viewBox: `0 0 ${width} 190`, preserveAspectRatio: "none", role: "img",
      "aria-label": `Spending by day: ${spent.map((each) => `${each.name} ${usd(each.cost_usd)}`).join(", ") || "nothing yet"}` },
      s("line", { x1: 0, x2: width, y1: height + 20, y2: height + 20 }),
      days.map((each, index) => {
        const tall = Number(each.cost_usd) / most * height;
        return s("rect", { x: index * step + 2, width: step - 4, y: height + 20 - Math.max(tall, 2), height: Math.max(tall, 2), rx: 3, class: tall ? "" : "none" },
          s("title", { text: `${each.name}: ${usd(each.cost_usd)}, ${plural(each.images, "image")}` }));
      }));
    return h("div", {}, chart, h("p", { class: "estimate num" }, h("span", { text: days[0].name }), h("span", { text: spent.length ? `most: ${usd(most)}` : "nothing yet" }), h("span", { text: days.at(-1).name })));
  }

  function bars(title, rows, otherwise = "Nothing yet.") {
    const most = Math.max(...rows.map((each) => Number(each.cost_usd)), 1e-9);
    return h("section", { class: "sheet", "aria-label": title }, h("h2", { text: title }), rows.length ? h("ul", { class: "bars num" }, rows.slice(0, 12).map((each) =>
      h("li", {}, h("span", { text: each.name, title: each.name }), h("span", { text: `${usd(each.cost_usd)} · ${plural(each.images, "image")}` }),
        s("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: Math.max(1, Number(each.cost_usd) / most * 100), height: 6 })))))
      : h("p", { class: "soft", text: otherwise }));
  }

  return { shown };
}
