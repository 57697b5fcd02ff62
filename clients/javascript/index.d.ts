import type { Commands } from "./commands.js";

export type { Commands };

export interface StoredEvent {
  id: string;
  type: string;
  version: number;
  data: Record<string, unknown>;
}

/** The answer to a command that was accepted. `events` is empty if there was nothing to change. */
export interface Answer {
  stream: string;
  version: number;
  events: ReadonlyArray<StoredEvent>;
}

/** The answers to a bulk command's items, in their order: an `Answer`, or a problem. */
export interface BulkAnswer {
  items: ReadonlyArray<{ status: number; answer: Record<string, unknown>; line?: number | null }>;
  dry_run: boolean;
}

export interface Options {
  /** The Idempotency-Key: a repeated command with the same key gets the first answer. */
  key?: string;
  /** Whether to ask only what would happen. */
  dryRun?: boolean;
  /** The ETag of the version on which the command is decided. */
  ifMatch?: string;
}

export interface Received {
  /** Its place in the topic, from which a subscription goes on. */
  position: number;
  id: string;
  /** Its name without the prefix, such as `SeatAssigned`. */
  type: string;
  /** The stream. */
  subject: string;
  time: string;
  data: Record<string, unknown>;
  /** All CloudEvents attributes. */
  attributes: Record<string, string>;
}

export interface Sent {
  source: string;
  id: string;
  /** The path at the console where its outcome is read. */
  location: string;
}

export interface Outcome {
  status: string;
  rule: string | null;
  reason: string;
  [more: string]: unknown;
}

export interface Credentials {
  token(ask: (path: string, body: unknown, form?: boolean) => Promise<Response>, renew: boolean): Promise<string>;
}

export function person(email: string, password: string): Credentials;
export function machine(clientId: string, clientSecret: string): Credentials;
/** An access token that somebody else renews. */
export function token(value: string): Credentials;

export interface Settings {
  identity?: string;
  marketplace?: string;
  entitlements?: string;
  distribution?: string;
  console?: string;
  /** How long a request is sent again while Tenure can't be reached or has too much to do, in milliseconds. */
  patience?: number;
  fetch?: typeof fetch;
}

/** A request that Tenure refused (RFC 9457). It is not sent again by itself. */
export class Refused extends Error {
  readonly status: number;
  readonly rule: string;
  readonly reason: string;
  readonly remedy: string;
  readonly because: ReadonlyArray<string>;
}

/** Tenure did not answer within the client's patience. Send the same command again with the same key. */
export class Unavailable extends Error {}

/** The events after a position are not kept any more. */
export class HistoryGone extends Error {
  /** The first position that is kept. */
  readonly nearest: number;
  /** Where the present state is read. */
  readonly snapshot: string;
}

export interface Wanted {
  /** The position after which to begin; the next event if it is left out. */
  after?: number;
  types?: ReadonlyArray<string>;
  streams?: ReadonlyArray<string>;
  tenants?: ReadonlyArray<string>;
  /** Ends the subscription. */
  signal?: AbortSignal;
}

export class Tenure {
  constructor(credentials: Credentials, settings?: Settings);
  readonly commands: Commands;
  /** Return a query's answer; with `atLeast` (`<stream>@<version>`), it has at least that. */
  query(service: string, path: string, options?: { atLeast?: string }): Promise<any>;
  /** Yield a topic's events as they are published, each once and in order, for ever. Throws HistoryGone or Refused. */
  subscribe(topic: string, wanted?: Wanted): AsyncGenerator<Received, void, undefined>;
  /** Send a publisher's event, and return once it is kept. Sent again with the same id, it has one effect. */
  emit(source: string, type: string, data: Record<string, unknown>, id?: string): Promise<Sent>;
  /** Return what became of an event, the newest outcome first; wait for the first one, `wait` seconds at most. */
  outcomes(sent: Sent, wait?: number): Promise<ReadonlyArray<Outcome>>;
}
