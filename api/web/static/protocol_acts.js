// Signs an act on the protocol and sends it: of agencies, contact points, keys and the agreement.

import * as keys from "./keys.js";
import { issue } from "./sd_jwt.js";
import { signAndSend } from "./sending.js";
import { reason, text } from "./texts.js";
import { show as showUnsent } from "./unsent.js";

/**
 * Sign an act and send it. `about` is kept with it: its `title`, the address of its `form`, and what
 * was typed as `fields` under the id `typed`. Gives the state that `sending.js` names, the id of the
 * act, and in `said` what a person is told; "" where it is recorded. An act that gets no answer is kept,
 * and the top of every page sends it again.
 */
export async function record({ agency, protocol }, act, about) {
  const key = await keys.of(agency);
  if (!key) return { state: "unsigned", said: text("act.no_key") };
  const signed = await issue(key, { protocol, closed: {}, digests: 0, ...act });
  const id = `${agency}/protocol/${signed.id}`;
  const outcome = await signAndSend(id, () => ({ text: signed.text, ...about }));
  await showUnsent();
  const said = {
    recorded: "",
    waits: text("act.waits"),
    unanswered: text("act.kept"),
  }[outcome.state] ?? text("act.refused", { reason: reason(outcome.told, outcome.status) });
  return { ...outcome, id: signed.id, said };
}
