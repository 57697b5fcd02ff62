// Emmett as a yardstick: `node emmett.mjs MODULES append CLIENTS SECONDS` or `… rebuild EVENTS`; prints JSON.
//
// DATABASE_URL is an empty database, EVENT an event's data as JSON. `append` is a closed loop: each client goes through
// streams of its own and expects each stream's version. `rebuild` folds events of 1,000 streams into a row a stream.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const STREAMS = 1000;
const CONNECTIONS = 16;
const WARM_UP_MS = 500;

const [modules, verb, ...numbers] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const load = name => import(pathToFileURL(require.resolve(name)));
const { default: pg } = await load('pg');
const { getPostgreSQLEventStore, postgreSQLRawSQLProjection, rebuildPostgreSQLProjections } =
  await load('@event-driven-io/emmett-postgresql');
const { sql } = await load('@event-driven-io/dumbo');

const url = process.env.DATABASE_URL;
const data = JSON.parse(process.env.EVENT);
const assigned = number => ({ type: 'SeatAssigned', data: { ...data, number } });

async function append(clients, seconds) {
  const pool = new pg.Pool({ connectionString: url, max: Math.min(clients, CONNECTIONS) });
  const store = getPostgreSQLEventStore(url, { connectionOptions: { pool } });
  await store.schema.migrate();
  await pool.query('checkpoint');
  const begin = performance.now() + WARM_UP_MS;
  const end = begin + seconds * 1000;
  const latencies = [];
  let written = 0;
  const client = async first => {
    const versions = new Map();
    for (let number = first; ; number = number + clients < STREAMS ? number + clients : first) {
      const sent = performance.now();
      if (sent >= end) return;
      const { nextExpectedStreamVersion } = await store.appendToStream(`bench-${number}`, [assigned(written)], {
        expectedStreamVersion: versions.get(number) ?? 'STREAM_DOES_NOT_EXIST',
      });
      versions.set(number, nextExpectedStreamVersion);
      written += 1;
      if (sent >= begin) latencies.push(performance.now() - sent);
    }
  };
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  const cpu = process.cpuUsage(before);
  const { rows: [found] } = await pool.query('select count(*)::int as events from emt_messages');
  if (found.events !== written) throw new Error(`${written} events were acknowledged, ${found.events} are there`);
  latencies.sort((a, b) => a - b);
  const rank = percent => Number(latencies[Math.floor((latencies.length * percent) / 100)].toFixed(2));
  return {
    events_s: Math.round(latencies.length / seconds),
    p50_ms: rank(50),
    p99_ms: rank(99),
    cpu_us: Number(((cpu.user + cpu.system) / written).toFixed(1)),
  };
}

// A message that Emmett wrote itself is the pattern of all. The index is one that Emmett's own reading lacks: without
// it, each batch would look through the whole table.
async function fill(db, store, events) {
  await store.appendToStream('bench-pattern', [assigned(0)]);
  const columns = (await db.query(
    `select column_name as name from information_schema.columns
     where table_name = 'emt_messages' and is_generated = 'NEVER' order by ordinal_position`,
  )).rows.map(each => each.name);
  const own = {
    stream_id: `'bench-' || number % ${STREAMS}`,
    stream_position: `1 + number / ${STREAMS}`,
    message_id: 'gen_random_uuid()::text',
    transaction_id: 'pg_current_xact_id()',
    global_position: 'number + 1',
  };
  await db.query('create temp table pattern as select * from emt_messages');
  await db.query('truncate emt_messages, emt_streams');
  await db.query(
    `insert into emt_messages (${columns}) overriding system value
     select ${columns.map(name => own[name] ?? `pattern.${name}`)}
     from pattern, generate_series(0, ${events - 1}) as number`,
  );
  await db.query('create index on emt_messages (transaction_id, global_position)');
  await db.query('analyze emt_messages');
}

async function rebuild(events) {
  const db = new pg.Client(url);
  await db.connect();
  const store = getPostgreSQLEventStore(url);
  await store.schema.migrate();
  await fill(db, store, events);
  await db.query('create table folded (stream text primary key, events bigint not null, latest jsonb not null)');
  await db.query('checkpoint');
  const projection = postgreSQLRawSQLProjection({
    name: 'folded',
    canHandle: ['SeatAssigned'],
    evolve: event => sql(
      `insert into folded values (%L, 1, %L::jsonb)
       on conflict (stream) do update set events = folded.events + 1, latest = excluded.latest`,
      event.metadata.streamName, JSON.stringify(event.data),
    ),
  });
  const begin = performance.now();
  const consumer = rebuildPostgreSQLProjections({
    connectionString: url, projections: [projection], pulling: { batchSize: 1000, pullingFrequencyInMs: 1 },
  });
  await consumer.start();
  const seconds = (performance.now() - begin) / 1000;
  await consumer.close();
  const { rows: [found] } = await db.query('select sum(events)::int as events from folded');
  if (found.events !== events) throw new Error(`${found.events} of ${events} events were folded`);
  return { events_s: Math.round(events / seconds) };
}

console.log(JSON.stringify(await { append, rebuild }[verb](...numbers.map(Number))));
process.exit(0);
