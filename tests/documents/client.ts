/**
 * Meets refusals by a client that was generated from the documents, and prints what it met, one a line.
 *
 * Compiled strictly: what the documents do not describe is an error here.
 */
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Problem = components["schemas"]["ProblemDetails"];

declare const process: { env: Record<string, string> };

const { IDENTITY_URL, MARKETPLACE_URL, EMAIL, PASSWORD } = process.env;
const identity = createClient<paths>({ baseUrl: IDENTITY_URL });
const signedOut = createClient<paths>({ baseUrl: MARKETPLACE_URL });

function met(response: Response, problem: Problem | undefined): void {
  if (problem === undefined) throw new Error(`${response.url} was not refused`);
  console.log(JSON.stringify({ status: response.status, rule: problem.rule, detail: problem.detail }));
}

const session = await identity.POST("/sessions", { body: { email: EMAIL, password: PASSWORD } });
if (session.data === undefined) throw new Error("nobody is signed in");
const headers = { Authorization: `Bearer ${session.data.access_token}` };
const market = createClient<paths>({ baseUrl: MARKETPLACE_URL, headers });

const nobody = await signedOut.GET("/carts", {});
met(nobody.response, nobody.error);

const unknown = await market.GET("/carts/{cart_id}", { params: { path: { cart_id: "none" } } });
met(unknown.response, unknown.error);

const opened = await market.POST("/carts", {});
const event = opened.data?.events[0];
if (event?.type !== "CartOpened") throw new Error("no cart was opened");
const cart_id: string = event.data.cart_id;
const version = opened.response.headers.get("ETag") ?? "";
const discarded = await market.DELETE("/carts/{cart_id}", { params: { path: { cart_id } } });
if (discarded.data === undefined) throw new Error("the cart was not discarded");
const body = { product_id: "C1RK1WW1762L158", seats: 1 };
const late = await market.POST("/carts/{cart_id}/lines", { params: { path: { cart_id } }, body });
met(late.response, late.error);

const stale = { path: { cart_id }, header: { "If-Match": version } };
const changed = await market.POST("/carts/{cart_id}/lines", { params: stale, body });
met(changed.response, changed.error);

const long = { ...body, product_id: "x".repeat(1000) };
const malformed = await market.POST("/carts/{cart_id}/lines", { params: { path: { cart_id } }, body: long });
met(malformed.response, malformed.error);

for (let number = 0; number < 40; number++) {
  const account = { email: `${number}@example.org`, password: PASSWORD, name: "Grace Hopper", country: "DE" };
  const dry = { params: { query: { dry_run: "true" as const } }, body: account };
  const often = await identity.POST("/accounts", dry);
  if (often.response.status === 429) {
    met(often.response, often.error);
    break;
  }
}
