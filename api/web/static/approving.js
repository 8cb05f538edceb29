// The page of a draft: signs the approval here, over the exact text that the author signed, and only if the page
// shows what that text says.

import { base64url, sha256, utf8 } from "./bytes.js";
import * as keys from "./keys.js";
import { serverNow } from "./server_time.js";
import { signedInAgain } from "./session_over.js";
import { showsWhatIsSigned } from "./signed_draft.js";
import { announce, reason, text } from "./texts.js";

const place = document.getElementById("approving");
if (place) begin(place);

function begin({ dataset }) {
  const button = document.getElementById("approve");
  const said = document.getElementById("approving-trouble");
  const { action, case: caseId, agency, protocol, signed } = dataset;
  let version = Number(dataset.version);
  let approval;

  function trouble(message) {
    said.textContent = message;
    said.hidden = !message;
    if (message) said.focus();
  }

  /** The approval is of the action and not of a version of the case: it is signed once. */
  async function made() {
    const key = await keys.of(agency);
    if (!key) return undefined;
    return keys.sign(key, "action-approval+jwt", {
      iss: agency,
      iat: Math.floor(serverNow() / 1000),
      protocol,
      action,
      sd_hash: base64url(await sha256(utf8(`${signed.split("~")[0]}~`))),
    });
  }

  async function send() {
    if (!(await showsWhatIsSigned(signed, dataset, document.querySelectorAll("dd[data-field]")))) {
      trouble(text("approval.other_text"));
      return;
    }
    approval ??= await made();
    if (!approval) {
      trouble(text("act.no_key"));
      return;
    }
    const answer = await fetch(`/v1/drafts/${action}/approval`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ approval, case_version: version }),
    }).catch(() => null);
    const told = (await answer?.json().catch(() => ({}))) ?? {};
    if (!answer || answer.status >= 500) trouble(text("approval.unanswered"));
    else if (answer.status === 401 && told.rule !== "signature") {
      await signedInAgain();
      await send();
    } else if (answer.status === 202) location.assign("/drafts?done=waits");
    else if (answer.ok) {
      const next = new URL(`/cases/${caseId}`, location.origin);
      next.searchParams.set("at_least", told.position);
      next.searchParams.set("recorded", told.action_id);
      location.assign(next);
    } else if (answer.status === 412) await movedOn();
    else {
      approval = undefined;
      trouble(text("act.refused", { reason: reason(told, answer.status) }));
    }
  }

  /** Show what was recorded in the case meanwhile: the next press approves for the case as it is. */
  async function movedOn() {
    trouble(text("approval.moved_on"));
    const answer = await fetch(`/cases/${caseId}/since?version=${version}`).catch(() => null);
    if (!answer?.ok) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-version]");
    version = Number(found.dataset.version);
    const since = document.getElementById("since");
    since.replaceChildren(document.importNode(found, true));
    since.hidden = false;
  }

  button.addEventListener("click", async () => {
    button.disabled = true;
    trouble("");
    announce(text("act.sending"));
    try {
      await send();
    } finally {
      button.disabled = false;
    }
  });
}
