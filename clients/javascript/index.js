// A client of Tenure: commands, events in and events out, over HTTP. Its types are in index.d.ts.

import { COMMANDS } from "./commands.js";

const AGAIN = new Set([429, 502, 503, 504]); // the same request is sent again
const FIRST_PAUSE = 200;
const LONGEST_PAUSE = 10_000;
const EARLY = 30_000; // before its end, a token is renewed
const LATEST = 45_000; // within which a request is answered, and a stream says something: the server does every 15 s
const PREFIX = "internal.tenure.";
const PORTS = { identity: 8101, marketplace: 8102, entitlements: 8103, distribution: 8104, console: 8100 };

export class Refused extends Error {
  constructor(problem, status) {
    const rule = problem.rule ?? problem.error ?? String(status);
    const reason = problem.detail ?? problem.error_description ?? "";
    super(`${rule} (${status}): ${reason} ${problem.remedy ?? ""}`.trimEnd());
    this.name = "Refused";
    Object.assign(this, { status, rule, reason, remedy: problem.remedy ?? "", because: problem.because ?? [] });
  }
}

export class Unavailable extends Error {
  name = "Unavailable";
}

export class HistoryGone extends Error {
  constructor({ nearest, snapshot }) {
    super(`the first event that is kept is at ${nearest}; read the present state from ${snapshot}`);
    this.name = "HistoryGone";
    Object.assign(this, { nearest, snapshot });
  }
}

// ── Credentials ──────────────────────────────────────────────────────────────────────────────────────────

export const token = (value) => ({ token: async () => value });

export const machine = (clientId, clientSecret) => {
  const form = { grant_type: "client_credentials", client_id: clientId, client_secret: clientSecret };
  return renewed((ask) => ask("/oauth/token", form, true));
};

export const person = (email, password) => {
  let refresh = "";
  return renewed(async (ask) => {
    const used = refresh;
    refresh = "";
    let answer = used ? await ask("/sessions/refresh", { refresh_token: used }) : null;
    if (answer === null || (answer.status >= 400 && answer.status < 500)) {
      answer = await ask("/sessions", { email, password });
    }
    if (answer.ok) refresh = (await answer.clone().json()).refresh_token;
    return answer;
  });
};

/** A token that is asked for when it is needed, and again before it ends; by several callers at once, once. */
function renewed(request) {
  let value = "";
  let until = 0;
  let asking = null;
  const renew = async (ask) => {
    const asked = Date.now();
    const answer = await request(ask);
    if (!answer.ok) throw await faultOf(answer);
    const found = await answer.json();
    const lifetime = found.expires_in * 1000;
    value = found.access_token;
    until = asked + Math.max(lifetime - EARLY, lifetime / 2);
  };
  return {
    async token(ask, anew) {
      if (anew || Date.now() >= until) {
        asking ??= renew(ask).finally(() => (asking = null));
        await asking;
      }
      return value;
    },
  };
}

/** A fault after which the same request may be sent again. */
class Passing extends Error {
  constructor(message, wait = 0) {
    super(message);
    this.wait = wait;
  }
}

async function faultOf(answer) {
  const text = await answer.text();
  let problem = {};
  try {
    problem = JSON.parse(text) ?? {};
  } catch {
    // no problem of Tenure's
  }
  const refused = new Refused(problem, answer.status);
  if (!AGAIN.has(answer.status)) return refused;
  return new Passing(refused.message, Number(answer.headers.get("retry-after") ?? 0) * 1000);
}

// ── The client ───────────────────────────────────────────────────────────────────────────────────────────

export class Tenure {
  #credentials;
  #addresses;
  #patience;
  #fetch;

  constructor(credentials, settings = {}) {
    this.#credentials = credentials;
    this.#patience = settings.patience ?? 60_000;
    this.#fetch = settings.fetch ?? fetch;
    const environment = globalThis.process?.env ?? {};
    this.#addresses = Object.fromEntries(
      Object.entries(PORTS).map(([name, port]) => {
        const found = settings[name] ?? environment[`TENURE_${name.toUpperCase()}_URL`] ?? `http://127.0.0.1:${port}`;
        return [name, found.replace(/\/$/, "")];
      }),
    );
    this.commands = Object.fromEntries(
      Object.entries(COMMANDS).map(([name, route]) => [name, (fields, options) => this.#command(route, fields, options)]),
    );
  }

  async query(service, path, { atLeast } = {}) {
    const headers = atLeast ? { "Tenure-At-Least": atLeast } : {};
    return (await this.#ask(service, path, { headers })).json();
  }

  async #command([service, method, template], fields = {}, { key, dryRun, ifMatch } = {}) {
    const body = { ...fields };
    const path = template.replace(/{(\w+)}/g, (_, name) => {
      const part = encodeURIComponent(String(fields[name]));
      delete body[name];
      return part;
    });
    const headers = { "Idempotency-Key": key ?? crypto.randomUUID(), ...(ifMatch ? { "If-Match": ifMatch } : {}) };
    const sent = { method, headers };
    if (Object.keys(body).length || method === "POST") {
      headers["Content-Type"] = "application/json";
      sent.body = JSON.stringify(body);
    }
    return (await this.#ask(service, `${path}${dryRun ? "?dry_run=true" : ""}`, sent)).json();
  }

  async *subscribe(topic, { after, types = [], streams = [], tenants = [], signal } = {}) {
    let position = after;
    let pause = FIRST_PAUSE;
    let leaving = false;
    while (!signal?.aborted) {
      const query = new URLSearchParams(position === undefined ? [] : [["after", String(position)]]);
      for (const [name, values] of Object.entries({ type: types, stream: streams, tenant: tenants })) {
        for (const value of values) query.append(name, value);
      }
      const alive = new Alive(signal);
      try {
        const path = `/live/${encodeURIComponent(topic)}?${query}`;
        const answer = await this.#answered("console", path, { headers: { Accept: "text/event-stream" }, signal: alive.signal });
        for await (const [at, event] of blocks(answer.body, alive)) {
          pause = FIRST_PAUSE;
          const isNew = position === undefined || at > position;
          if (isNew) position = at;
          if (event && isNew) {
            leaving = true; // unless it is asked for the next one
            yield event;
            leaving = false;
          }
        }
      } catch (fault) {
        if (leaving || signal?.aborted) return; // a lost connection can't be closed
        if (fault instanceof Refused || fault instanceof HistoryGone) throw fault;
        pause = Math.max(pause, fault.wait ?? 0);
      } finally {
        alive.ended();
      }
      await sleep(pause);
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  }

  async emit(source, type, data, id = crypto.randomUUID()) {
    const body = JSON.stringify({ specversion: "1.0", id, source, type, data });
    const headers = { "Content-Type": "application/cloudevents+json" };
    const { location } = await (await this.#ask("console", "/events", { method: "POST", headers, body })).json();
    return { source, id, location };
  }

  async outcomes(sent, wait = 30) {
    return (await (await this.#ask("console", `${sent.location}?wait=${wait}`, {})).json()).outcomes;
  }

  /** Send a request until it is answered; it is the same each time. */
  async #ask(service, path, sent) {
    const until = Date.now() + this.#patience;
    for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        return await this.#answered(service, path, { ...sent, signal: AbortSignal.timeout(LATEST) });
      } catch (fault) {
        if (fault instanceof Refused) throw fault;
        const wait = Math.max(pause, fault.wait ?? 0);
        if (Date.now() + wait > until) throw new Unavailable(`${sent.method ?? "GET"} ${service} ${path}: ${fault.message}`);
        await sleep(wait);
      }
    }
  }

  /** Send a request once, and again if its token had ended. */
  async #answered(service, path, sent) {
    for (const renew of [false, true]) {
      const access = await this.#credentials.token((at, body, form) => this.#post(at, body, form), renew);
      const headers = { ...sent.headers, Authorization: `Bearer ${access}` };
      const answer = await this.#fetch(this.#addresses[service] + path, { ...sent, headers });
      if (answer.ok) return answer;
      const fault = await faultOf(answer);
      if (answer.status !== 401 || renew) throw fault;
    }
  }

  #post(path, body, form = false) {
    const sent = form
      ? { body: new URLSearchParams(body) }
      : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    return this.#fetch(this.#addresses.identity + path, { method: "POST", ...sent, signal: AbortSignal.timeout(LATEST) });
  }
}

/** Pause, a little longer than asked, so that not all clients come back at once. */
const sleep = (pause) => new Promise((resolve) => setTimeout(resolve, pause * (1 + Math.random() / 2)));

/** Ends a connection that has been silent for too long. */
class Alive {
  #silence = new AbortController();
  #timer;

  constructor(signal) {
    this.signal = signal ? AbortSignal.any([signal, this.#silence.signal]) : this.#silence.signal;
    this.heard();
  }

  heard() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#silence.abort(), LATEST);
  }

  ended() {
    clearTimeout(this.#timer);
    this.#silence.abort();
  }
}

/** Yield each position that a stream of Server-Sent Events has come to, with its event if there is one. */
async function* blocks(body, alive) {
  const decoder = new TextDecoder();
  let text = "";
  let position = 0;
  for await (const chunk of body) {
    alive.heard();
    text += decoder.decode(chunk, { stream: true });
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      let kind = "";
      const data = [];
      for (const line of part.split("\n")) {
        const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
        if (name === "id") position = Number(value);
        else if (name === "event") kind = value;
        else if (name === "data") data.push(value);
      }
      if (kind === "reset") throw new HistoryGone(JSON.parse(data.join("\n")));
      yield [position, data.length ? received(JSON.parse(data.join("\n"))) : null];
    }
  }
}

function received({ data, ...attributes }) {
  const { id, type, subject = "", time = "", position } = attributes;
  return { position: Number(position), id, type: type.replace(PREFIX, ""), subject, time, data, attributes };
}
