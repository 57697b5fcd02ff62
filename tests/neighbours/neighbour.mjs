// A publisher's system in JavaScript, written from the published documents: it imports nothing of this project.
import { randomInt, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { CloudEvent, Kafka as Binding } from "cloudevents";
import { Kafka, logLevel } from "kafkajs";

const { env } = process;
const PUBLISHER = env.PUBLISHER;
const SOURCE = `urn:publisher:${PUBLISHER}`;
const PREFIX = "internal.tenure.";
const PATIENCE_MS = 60_000;

const kafka = new Kafka({
  brokers: [env.KAFKA_BOOTSTRAP],
  ssl: { ca: [readFileSync(env.KAFKA_CA_FILE)] },
  sasl: { mechanism: "scram-sha-512", username: env.KAFKA_USERNAME, password: env.KAFKA_PASSWORD },
  logLevel: logLevel.ERROR,
});
const ajv = addFormats.default(new Ajv());

const say = (step, what) => console.log(JSON.stringify({ step, ...what }));

async function json(url, options) {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** The headers with the token of the publisher's machine account. */
async function authorized() {
  const basic = Buffer.from(`${env.CLIENT_ID}:${env.CLIENT_SECRET}`).toString("base64");
  const body = new URLSearchParams({ grant_type: "client_credentials" });
  const headers = { authorization: `Basic ${basic}` };
  const granted = await json(`${env.TENURE_IDENTITY_URL}/oauth/token`, { method: "POST", headers, body });
  return { authorization: `Bearer ${granted.access_token}` };
}

/** Whether the data are as their schema says, which a service serves. */
async function fits(dataschema, data) {
  const validate =
    ajv.getSchema(dataschema) ?? ajv.compile(await json(`${env.TENURE_IDENTITY_URL}/schemas/${dataschema}`));
  return validate(data) && validate.schema.$id === dataschema;
}

/** The events of a stream of Server-Sent Events. */
async function* live(topic, query, headers) {
  const url = `${env.TENURE_CONSOLE_URL}/live/${topic}?${new URLSearchParams(query)}`;
  const answer = await fetch(url, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  let text = "";
  for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (text + part).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
    }
  }
}

/** Send an event to the publisher's own topic; return its id. */
async function send(producer, name, data, key, mode) {
  const dataschema = `urn:tenure:events:${name}:1`;
  if (!(await fits(`${dataschema}:sent`, data))) throw new Error(ajv.errorsText());
  const attributes = { id: randomUUID(), source: SOURCE, type: PREFIX + name, time: new Date().toISOString() };
  const more = { datacontenttype: "application/json", dataschema, partitionkey: key };
  const { value, headers: all } = Binding[mode](new CloudEvent({ ...attributes, ...more, data }));
  const headers = Object.fromEntries(Object.entries(all).filter(([, text]) => text !== undefined)); // for kafkajs
  const bytes = typeof value === "string" ? value : JSON.stringify(value);
  await producer.send({ topic: `publisher.inbound.v1.${PUBLISHER}`, messages: [{ key, value: bytes, headers }] });
  say("sent", { id: attributes.id, data });
  return attributes.id;
}

/** A reader of the publisher's topic of outcomes: what it returns waits for that of one event. */
async function outcomes(consumer) {
  const found = new Map();
  const waiting = new Map();
  await consumer.connect();
  await consumer.subscribe({ topics: [`publisher.outcomes.v1.${PUBLISHER}`], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, `${value}`]));
      const event = Binding.toEvent({ headers, key: `${message.key}`, value: `${message.value}` });
      const data = typeof event.data === "string" ? JSON.parse(event.data) : event.data;
      found.set(data.event_id, { event, data });
      waiting.get(data.event_id)?.();
    },
  });
  return async (id) => {
    const late = new Promise((_, reject) => setTimeout(reject, PATIENCE_MS, new Error(`no outcome of ${id}`)).unref());
    if (!found.has(id)) await Promise.race([late, new Promise((resolve) => waiting.set(id, resolve))]);
    const { event, data } = found.get(id);
    say("outcome", { type: event.type.replace(PREFIX, ""), fits: await fits(event.dataschema, data), data });
  };
}

const digits = (count) => `${randomInt(10 ** count)}`.padStart(count, "0");

const since = new Date().toISOString();
const run = randomUUID().replaceAll("-", "");
const headers = await authorized();
const producer = kafka.producer();
await producer.connect();
const consumer = kafka.consumer({ groupId: `publisher-${PUBLISHER}.${run}` });
const outcome = await outcomes(consumer);

const plan = {
  product_id: `${run.slice(0, 5).toUpperCase()}${digits(6)}N${digits(3)}`,
  publisher: PUBLISHER,
  programme: "neighbour-subscription",
  product: `neighbour-${run.slice(0, 6)}`,
  product_name: "Neighbour",
  period: "annual",
  support: "basic",
  billing: "upfront",
  commitment_months: 12,
  category: "open",
  agreement: "desktop",
  price: { amount: 4200, currency: "EUR" },
};
const listed = await send(producer, "PlanListed", { plan }, plan.product_id, "binary");
for await (const event of live("marketplace.events.v1", { type: "PlanListed", since }, headers)) {
  const { id, type, causationid: cause, dataschema, data } = event;
  if (data.plan?.product_id !== plan.product_id) continue;
  say("effect", { type: type.replace(PREFIX, ""), id, cause, fits: await fits(dataschema, data), data });
  break;
}
await outcome(listed);
const unknown = { subscription_id: `nobodys-${run}`, reference: "4500017" };
const confirmed = await send(producer, "OrderConfirmed", unknown, unknown.subscription_id, "structured");
await outcome(confirmed);
say("answer", await json(`${env.TENURE_CONSOLE_URL}/events/${SOURCE}/${confirmed}?wait=20`, { headers }));
await consumer.disconnect();
await producer.disconnect();
