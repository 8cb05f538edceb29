// The browser's comparison, run in Node: a JSON line in with what a page shows and the events'
// bytes, a JSON line out with what was found.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [at] = process.argv.slice(2);
const { compareShown } = await import(pathToFileURL(`${at}/shown.js`));
const { eventAt } = await import(pathToFileURL(`${at}/proven_event.js`));
const { withWholeText } = await import(pathToFileURL(`${at}/packed_text.js`));

const events = (found) => Promise.all(found.map(([position, bytes]) =>
  withWholeText(eventAt(new Uint8Array(Buffer.from(bytes, "base64")), position))));

for await (const line of createInterface({ input: process.stdin })) {
  const { shown, acts, proved } = JSON.parse(line);
  let answer;
  try {
    answer = await compareShown(shown, await events(acts), await events(proved));
  } catch (error) {
    answer = { failed: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

// A module of the pages holds a channel to other tabs, which would keep this process alive.
process.exit(0);
