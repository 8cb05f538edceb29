// Writes src/generated/ from what a node serves: the types of its API and of its actions, and of
// each kind of action its version, its ledger fields and its number of digests.
import { mkdir, writeFile } from 'node:fs/promises';
import openapiTS, { astToString } from 'openapi-typescript';

const node = process.argv[2];
if (!node) throw new Error('Name the node: npm run generate -- https://node.example');
const get = async (path) => {
  const answer = await fetch(new URL(path, node));
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
};
const [api, bundle] = await Promise.all([get('/v1/openapi.json'), get('/v1/schemas/bundle')]);

const nameOf = (schema) => schema.$id.split('/').slice(3).join('.').replace(/^(actions|shared)\./, '');
const schemas = {};
const kinds = {};
for (const schema of Object.values(bundle.$defs)) {
  const told = schema['x-case-ledger'];
  if (told?.kind && told.state !== 'current') continue;
  const own = told?.kind ?? nameOf(schema);
  const referring = (value) => JSON.parse(JSON.stringify(value)
    .replaceAll('"$ref":"#/$defs/', `"$ref":"#/components/schemas/${own}.`)
    .replaceAll('"$ref":"/v1/schemas/shared/', '"$ref":"#/components/schemas/'));
  const { $defs, $id, $schema, examples, ...whole } = schema;
  schemas[own] = referring(whole);
  for (const [name, one] of Object.entries($defs ?? {})) schemas[`${own}.${name}`] = referring(one);
  if (!told?.kind) continue;
  const ledger = Object.entries(schema.properties)
    .filter(([, one]) => one['x-case-ledger'].level === 'ledger')
    .map(([name]) => name);
  kinds[own] = { version: told.version, digests: told.digests, ledger };
}
schemas.languages = { type: 'string', description: 'ISO 639-3, such as sqi' }; // 7,900 of them as types help nobody
const info = { title: 'Actions', version: '1' };
const actions = { openapi: '3.1.0', info, paths: {}, components: { schemas } };
const named = Object.keys(kinds).map((kind) => `  ${kind}: components['schemas']['${kind}'];`);
await mkdir(new URL('src/generated/', import.meta.url), { recursive: true });
const write = (name, text) =>
  writeFile(new URL(`src/generated/${name}`, import.meta.url), `// Made by generate.mjs.\n${text}`);
await write('api.ts', astToString(await openapiTS(api)));
await write('actions.ts', astToString(await openapiTS(actions)) +
  `\n/** The fields of each kind of action. */\nexport interface Actions {\n${named.join('\n')}\n}\n`);
await write('kinds.ts', `export const KINDS = ${JSON.stringify(kinds, null, 1)} as const;\n`);
