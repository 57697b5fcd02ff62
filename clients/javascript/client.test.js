import assert from "node:assert/strict";
import { test } from "node:test";

import { HistoryGone, Refused, Tenure, Unavailable, person, token } from "./index.js";

const ACCEPTED = { stream: "pool-s", version: 3, events: [] };
const json = (body, status = 200, headers = {}) => new Response(JSON.stringify(body), { status, headers });
const problem = (status, rule) => json({ rule, status, detail: `It is ${rule}.`, remedy: "Do otherwise.", because: [] }, status);

/** Gives its answers one after the other, and keeps what it was asked. */
function server(...answers) {
  const asked = [];
  const fetch = async (url, sent) => {
    asked.push({ url: new URL(url), ...sent });
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { fetch, asked };
}

function stream(...parts) {
  const body = new ReadableStream({
    pull(controller) {
      const part = parts.shift();
      if (part === undefined) controller.error(new Error("lost"));
      else controller.enqueue(new TextEncoder().encode(part));
    },
  });
  return new Response(body);
}

const block = (position) => {
  const event = { id: `e${position}`, position: String(position), type: "internal.tenure.SeatAssigned", data: {} };
  return `id: ${position}\ndata: ${JSON.stringify(event)}\n\n`;
};
const client = (from, settings = {}) => new Tenure(token("t"), { fetch: from.fetch, ...settings });

test("a command is sent again with its key until it is answered", async () => {
  const from = server(new Error("refused"), problem(503, "busy"), json(ACCEPTED));
  const answer = await client(from).commands.assignSeat({ subscription_id: "a/b", email: "a@b.example" });
  assert.deepEqual(answer, ACCEPTED);
  assert.equal(new Set(from.asked.map((each) => each.headers["Idempotency-Key"])).size, 1);
  assert.equal(from.asked[0].url.pathname, "/pools/a%2Fb/seats");
  assert.deepEqual(JSON.parse(from.asked[2].body), { email: "a@b.example" });
});

test("a refusal is not sent again, and patience ends", async () => {
  const refusing = server(problem(409, "no-seat"));
  await assert.rejects(client(refusing).commands.assignSeat({ subscription_id: "s" }), (fault) => {
    assert.ok(fault instanceof Refused);
    return fault.rule === "no-seat" && fault.remedy === "Do otherwise.";
  });
  assert.equal(refusing.asked.length, 1);
  const busy = server(problem(503, "busy"));
  await assert.rejects(client(busy, { patience: 0 }).query("entitlements", "/pools"), Unavailable);
});

test("a token that has ended is renewed once", async () => {
  const session = (number) => json({ access_token: `t${number}`, refresh_token: `r${number}`, expires_in: 300 });
  const from = server(session(1), problem(401, "not-signed-in"), session(2), json({ items: [] }));
  await new Tenure(person("a@b.example", "secret"), { fetch: from.fetch }).query("entitlements", "/pools");
  assert.deepEqual(from.asked.map((each) => each.url.pathname), ["/sessions", "/pools", "/sessions/refresh", "/pools"]);
  assert.equal(from.asked[3].headers.Authorization, "Bearer t2");
});

test("a subscription goes on after its last event and gives none twice", async () => {
  const from = server(
    stream("retry: 1\nid: 4\n\n", block(5), block(6).slice(0, 9), block(6).slice(9), "id: 7\nda"),
    problem(503, "busy"),
    stream(": alive\nid: 6\n\n", block(6), block(7), ": alive\nid: 9\n\n"),
    stream(block(11)),
  );
  const found = [];
  for await (const event of client(from).subscribe("t", { types: ["SeatAssigned"] })) {
    found.push(event.position);
    assert.equal(event.type, "SeatAssigned");
    if (found.length === 4) break;
  }
  assert.deepEqual(found, [5, 6, 7, 11]);
  assert.deepEqual(from.asked.map((each) => each.url.searchParams.get("after")), [null, "6", "6", "9"]);
});

test("a history that is gone is told", async () => {
  const from = server(stream('event: reset\nid: 40\ndata: {"after": 5, "nearest": 41, "snapshot": "/pools"}\n\n'));
  await assert.rejects(client(from).subscribe("t", { after: 5 }).next(), (fault) => {
    assert.ok(fault instanceof HistoryGone);
    return fault.nearest === 41 && fault.snapshot === "/pools";
  });
});

test("an event that is sent again has the same id", async () => {
  const from = server(new Error("late"), json({ location: "/events/urn:publisher:p/1" }, 202));
  const sent = await client(from).emit("urn:publisher:p", "PlanListed", { a: 1 });
  assert.equal(sent.location, "/events/urn:publisher:p/1");
  assert.equal(from.asked[0].body, from.asked[1].body);
});
