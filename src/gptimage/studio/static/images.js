// What can be done with images anywhere on the page: pin, tag, delete with undo, download, copy.

import { complain, download, plural, toast, usd } from "./dom.js";
import { get, post, request } from "./api.js";

/** Delete once the message with "Undo" is gone; until then nothing has happened. */
export async function remove(ids, app) {
  for (const id of ids) app.removed(id);
  if (await toast(`${plural(ids.length, "image")} deleted.`, { action: "Undo", seconds: 8 })) {
    app.restored(ids);
    return;
  }
  for (const id of ids) {
    try { await request("DELETE", `api/images/${id}`); } catch (error) { if (error.status !== 404) { complain(error); app.restored([id]); } }
  }
  app.status().catch(() => {});
}

export async function change(id, wanted, app) {
  const found = await request("PATCH", `api/images/${id}`, wanted);
  app.changed(found);
  return found;
}

export async function save(ids, kind) {
  const response = await post("api/export", { ids, kind }, { raw: true });
  const name = response.headers.get("content-disposition").match(/filename="(.+)"/)[1];
  download(await response.blob(), name);
}

/** Copy an image's pixels; clipboards take PNG only, so others are drawn anew. */
export async function copyImage(id) {
  const blob = await (await request("GET", `images/${id}`, undefined, { raw: true })).blob();
  await navigator.clipboard.write([new ClipboardItem({ "image/png": blob.type === "image/png" ? blob : png(blob) })]);
  toast("The image is in the clipboard.");
}

async function png(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

export async function copyText(text, what) {
  await navigator.clipboard.writeText(text);
  toast(`${what} is in the clipboard.`);
}

/** Have the chat model write an image's alt text; it costs a little, and is saved with the image. */
export async function writeAlt(id) {
  const found = await post(`api/images/${id}/alt`);
  toast([`Written for ${usd(found.cost_usd)}: read it before you use it.`, ...found.warnings].join(" "));
  return found.alt;
}

/** Say what went wrong with an image; one that was deleted elsewhere leaves the page. */
export function failed(error, id, app) {
  if (error.status === 404) app.removed(id);
  complain(error);
}

export const describe = (id) => get(`api/images/${id}`);
