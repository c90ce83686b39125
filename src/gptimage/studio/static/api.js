// The requests of the page, and the jobs that every part of it follows.

export class StudioError extends Error {
  constructor(message, field, status) { super(message); Object.assign(this, { field, status }); }
}

export async function request(method, path, body, { raw = false, signal } = {}) {
  const options = { method, signal, headers: {} };
  if (body instanceof Blob) options.body = body;
  else if (body !== undefined) { options.body = JSON.stringify(body); options.headers["content-type"] = "application/json"; }
  let response;
  try { response = await fetch(path, options); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new StudioError("The studio does not answer: it was stopped, or the network is down. What was sent is finished and saved all the same.");
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    const text = told.error === "invalid_token" ? "You are signed out: load this page again." : told.error_description ?? `The studio failed (${response.status}).`;
    throw new StudioError(text[0].toUpperCase() + text.slice(1), told.field, response.status);
  }
  if (raw) return response;
  return response.status === 204 ? null : response.json();
}

export const get = (path, options) => request("GET", path, undefined, options);
export const post = (path, body, options) => request("POST", path, body ?? {}, options);

/** Ids of what one form sends. Sent again after an error it keeps its id, and is the same job: it may be begun, and paid, although no usable answer came. */
export class Ids {
  constructor() { this.given = new Map(); }

  of(request, place = 0) {
    const key = JSON.stringify([place, request]);
    if (!this.given.has(key)) this.given.set(key, `studio-${crypto.randomUUID()}`);
    return this.given.get(key);
  }

  /** All of it arrived: the same request is a new job from now on. */
  arrived() { this.given.clear(); }
}

export const thumbnail = (id, pixels = 384) => `thumbnails/${pixels}/${id}`;
export const source = (name, pixels) => name.startsWith("upload:") ? `uploads/${name.slice(7)}` : thumbnail(name, pixels);

export const jobs = new Map();
const followers = new Set();
export const seen = { catalogue: null, status: null };

/** Call with every job that changes, and with null when all were read anew; returns how to stop. */
export function follow(run) {
  followers.add(run);
  return () => followers.delete(run);
}

const begun = (job) => Object.assign(job, { begun: performance.now() - (job.seconds ?? 0) * 1000 });

export function take(job) {
  jobs.set(job.id, begun(job));
  for (const run of followers) run(job);
}

export async function loadJobs() {
  const newer = new Map(); // what is told meanwhile is newer than the list
  const stop = follow((job) => job && newer.set(job.id, job));
  const found = await get("api/jobs").finally(stop);
  jobs.clear();
  for (const job of found.jobs.reverse()) if (!newer.has(job.id)) jobs.set(job.id, begun(job));
  for (const [id, job] of newer) jobs.set(id, job);
  for (const run of followers) run(null);
}

export async function loadStatus() {
  seen.status = await get("api/status");
  return seen.status;
}

/** Follow all jobs while the page is looked at: a browser has few connections for each site. */
export function listen(trouble) {
  let events = null;
  const open = () => {
    if (events || document.hidden) return;
    events = new EventSource("api/events");
    // The list is read once the stream is open, so that nothing falls in between.
    events.addEventListener("open", () => { trouble(""); loadJobs().catch((error) => trouble(error.message)); });
    events.addEventListener("job", (event) => take(JSON.parse(event.data)));
    events.addEventListener("error", async () => {
      try { await loadStatus(); } catch (error) { trouble(error.message); }
      if (events?.readyState === EventSource.CLOSED) { events = null; setTimeout(open, 3000); }
    });
  };
  const close = () => { events?.close(); events = null; };
  document.addEventListener("visibilitychange", () => document.hidden ? close() : open());
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

/** Post about a job. The stream may tell how it ended before the response arrives, which would take that back for good. */
async function tell(id, path, body) {
  let newer = false;
  const stop = follow((job) => { newer ||= job ? job.id === id : jobs.has(id); });
  const job = await post(path, body).finally(stop);
  if (!newer) take(job);
  return job;
}

/** Begin a job; the click may come twice, the job does not. */
export const submit = (request) => tell(request.id, "api/jobs", request);

export const decide = (id, action) => tell(id, `api/jobs/${encodeURIComponent(id)}/${action}`);

export function remember(name, value) {
  try { localStorage.setItem(`studio.${name}`, JSON.stringify(value)); } catch { /* no room: then it is forgotten */ }
}

export function recall(name, otherwise) {
  try { return JSON.parse(localStorage.getItem(`studio.${name}`)) ?? otherwise; } catch { return otherwise; }
}
