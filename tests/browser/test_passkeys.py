"""A passkey opens the key in the browser: WebAuthn's extension PRF, by a virtual authenticator."""

import base64
import re
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import BrowserContext, CDPSession, Page, Playwright, expect

from tests.browser.conftest import ARGUMENTS, CHROMIUM, FEW_ROUNDS, PIN, SECONDS, SHELL, Person
from tests.browser.test_locked_keys import SIGNED_OUT, kept, sign_out
from tests.support.browser_profile import files_with
from tests.support.serving import Server

POLICE = "xk-dhtqnj"
PRESENT = {
    "protocol": "ctap2",
    "ctap2Version": "ctap2_1",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
SECRETS_TOLD = """{
    const told = (bytes) => heardSecret(btoa(String.fromCharCode(...new Uint8Array(bytes))));
    const { exportKey } = SubtleCrypto.prototype;
    SubtleCrypto.prototype.exportKey = async function (format, key) {
        const made = await exportKey.call(this, format, key);
        if (format === "pkcs8") told(made.slice(-32));
        return made;
    };
    const { get } = CredentialsContainer.prototype;
    CredentialsContainer.prototype.get = async function (how) {
        const answer = await get.call(this, how);
        const first = answer.getClientExtensionResults().prf?.results?.first;
        if (first) told(first);
        return answer;
    };
}"""


class Authenticator:
    """A device that makes passkeys, at one page."""

    def __init__(self, page: Page) -> None:
        self._cdp: CDPSession = page.context.new_cdp_session(page)
        self._cdp.send("WebAuthn.enable")
        self._id: str | None = None

    def take(self, *, has_prf: bool = True) -> None:
        """Put another device in the place of the one that was there."""
        if self._id is not None:
            self._cdp.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self._id})
        made = self._cdp.send(
            "WebAuthn.addVirtualAuthenticator", {"options": {**PRESENT, "hasPrf": has_prf}}
        )
        self._id = made["authenticatorId"]


CANCELLED = """() => {
    const { get } = CredentialsContainer.prototype;
    CredentialsContainer.prototype.get = async function () {
        CredentialsContainer.prototype.get = get;
        throw new DOMException("cancelled", "NotAllowedError");
    };
}"""
"""A person who cancels, once: a virtual authenticator that verifies nobody is blocked for good."""


def begun(playwright: Playwright, node: Server, profile: Path, secrets: list[bytes]) -> Person:
    context: BrowserContext = playwright.chromium.launch_persistent_context(
        profile,
        executable_path=SHELL if SHELL.exists() else CHROMIUM,
        args=ARGUMENTS,
        locale="en-GB",
    )
    context.set_default_timeout(SECONDS)
    context.add_init_script(FEW_ROUNDS)
    context.expose_function("heardSecret", lambda text: secrets.append(base64.b64decode(text)))
    context.add_init_script(SECRETS_TOLD)
    # WebAuthn belongs to a name: no browser has it at 127.0.0.1.
    named = replace(node, url=node.url.replace("127.0.0.1", "localhost"))
    person = Person(POLICE, named, context, context.new_page())
    person.watch()
    person.expected = SIGNED_OUT
    return person


def test_a_passkey_opens_the_key_and_a_pin_is_the_second_way(
    playwright: Playwright, node: Server, tmp_path: Path
) -> None:
    secrets: list[bytes] = []
    police = begun(playwright, node, tmp_path / "profile", secrets)
    page = police.page
    device = Authenticator(page)

    # A device without PRF: the page says so, and the PIN is there.
    device.take(has_prf=False)
    police.goto("/sign-in")
    page.select_option("#agency", POLICE)
    page.click("#make-key")
    passkey = page.locator("#new-lock [data-passkey]")
    passkey.click()
    expect(page.locator("#new-lock-said")).to_contain_text("lacks the extension PRF")
    expect(page.locator("#new-pin")).to_be_visible()
    police.sees_no_barrier()
    police.pictures("passkey-new")

    # A device with PRF: one press makes the lock.
    device.take()
    passkey.click()
    page.wait_for_selector("#has-key:not([hidden])")
    police.register()
    page.click("#enter")
    page.wait_for_url("**/today")

    # Signing out locks. One press enters again: the agency is chosen, and the button has the focus.
    sign_out(police)
    assert kept(page) == {"keys": 1, "drafts": 0, "usable": 0, "tab": 0}
    expect(page.locator("#enter")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/today")

    # The person cancels: the page says so, and the key stays locked.
    sign_out(police)
    expect(page.locator("#enter")).to_be_focused()
    page.evaluate(CANCELLED)
    page.click("#enter")
    expect(page.locator("#unlock-said")).to_contain_text("did not open the key")
    expect(page.locator("#unlock-pin")).to_be_hidden()
    police.sees_no_barrier()
    police.pictures("passkey-unlock")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#sign-in-said")).to_contain_text("stayed locked")
    page.evaluate(CANCELLED)
    page.click("#enter")
    page.get_by_role("button", name="Use the passkey").click()
    page.wait_for_url("**/today")

    # A PIN as the second way.
    police.goto("/keys")
    listed = page.locator("#own-locks li")
    expect(listed).to_have_count(2)
    expect(listed.nth(1)).to_contain_text("This device")
    expect(listed.nth(1).get_by_role("button")).to_be_hidden()  # the last lock stays
    expect(page.locator("#own-single")).to_be_visible()
    page.click("#own-set-pin")
    police.choose_pin()
    expect(page.locator("#own-said")).to_contain_text("The PIN opens the key")
    expect(page.locator("#own-single")).to_be_hidden()

    # Another device: it does not have the passkey, the PIN opens, and it gets one of its own.
    device.take()
    page.fill("#own-passkey-name", "blue security key")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.locator("#unlock-said")).to_contain_text("this device does not have the passkey")
    police.unlock()
    expect(page.locator("#own-said")).to_contain_text("The passkey opens the key")
    expect(listed).to_have_count(3)
    police.sees_no_barrier()
    police.pictures("keys-with-passkeys")
    page.get_by_role("button", name=re.compile("Remove: This device")).click()
    expect(page.locator("#own-said")).to_contain_text("opens this key no more")
    expect(listed).to_have_count(2)
    expect(listed.nth(1)).to_contain_text("blue security key")
    sign_out(police)
    page.click("#enter")
    page.wait_for_url("**/today")

    # A passkey that gives another secret than it did: said as it is.
    sign_out(police)
    page.evaluate(
        """() => {
            const { get } = CredentialsContainer.prototype;
            CredentialsContainer.prototype.get = async function (how) {
                how.publicKey.extensions.prf.eval.first = new Uint8Array(32);
                return get.call(this, how);
            };
        }"""
    )
    page.click("#enter")
    expect(page.locator("#unlock-said")).to_contain_text("does not open this key")
    police.unlock()
    page.wait_for_url("**/today")
    sign_out(police)
    assert police.complained() == []
    police.context.close()

    # Neither the private key nor a secret of a passkey is anywhere in the profile.
    assert len(set(secrets)) >= 4
    assert files_with(tmp_path / "profile", [POLICE.encode()]) != []
    assert files_with(tmp_path / "profile", secrets) == []


def test_an_address_without_a_name_has_no_passkey_and_says_so(stranger: Person) -> None:
    page = stranger.goto("/sign-in")
    page.select_option("#agency", POLICE)
    page.click("#make-key")
    expect(page.locator("#new-lock [data-hindrance]")).to_contain_text("no passkey at this address")
    expect(page.locator("#new-lock [data-passkey]")).to_be_hidden()
    stranger.choose_pin(PIN)
    page.wait_for_selector("#has-key:not([hidden])")
