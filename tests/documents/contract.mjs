// Checks a folder of documents by AsyncAPI's own parser and by ajv: node contract.mjs NODE_MODULES FOLDER.
// Prints what is wrong, as JSON: of each AsyncAPI document, of each schema, and of each event in FOLDER/events.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const [modules, folder] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'any.js'));
const { Parser } = require('@asyncapi/parser');
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;

const read = (...parts) => fs.readFileSync(path.join(folder, ...parts), 'utf8');
const listed = (part) => fs.readdirSync(path.join(folder, part)).filter((name) => name.endsWith('.json'));
const wrong = [];
const count = { documents: 0, schemas: 0, events: 0 };

const parser = new Parser();
for (const name of listed('.').filter((each) => each.startsWith('asyncapi'))) {
  const { document, diagnostics } = await parser.parse(read(name));
  // The parser's severities: 0 an error, 1 a warning; 2 and 3 are hints, such as that there is a newer version.
  const found = diagnostics.filter((each) => each.severity < 2).map((each) => `${each.path.join('.')}: ${each.message}`);
  if (!document || found.length) wrong.push(`${name}: ${found.join('; ')}`);
  count.documents += 1;
}

const ajv = new Ajv({ strict: true, allErrors: true });
addFormats(ajv);
for (const name of listed('schemas')) {
  const validate = ajv.compile(JSON.parse(read('schemas', name)));
  count.schemas += 1;
  if (fs.existsSync(path.join(folder, 'events', name))) {
    count.events += 1;
    if (!validate(JSON.parse(read('events', name)))) wrong.push(`${name}: ${ajv.errorsText(validate.errors)}`);
  }
}
console.log(JSON.stringify({ ...count, wrong }));
