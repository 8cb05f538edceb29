// The worker of the pages. The node puts a line before this text: `const RELEASE = {…}`, with the `version` of
// what is kept, the `base` of this release's static files, the `languages`, and the `files` of the offline page.
//
// It keeps static files and one offline page in each language, and nothing else: no page with content, no
// answer of the API. Only GET requests for these files, and those that open a page, go through it.

const NAMES = "case-ledger-shell-";
const CACHE = NAMES + RELEASE.version;
/** Under this name the cache has the language that the person reads. */
const CHOSEN = "/offline/chosen";
/** Parts of the node that are no pages. What they answer, the browser asks for by itself. */
const NO_PAGES = ["/v1/", "/auth/", "/log/", "/witness/", "/static/", "/offline/"];
/** What a proxy answers while the node behind it does not. */
const NODE_IS_AWAY = [502, 504];

const offlinePage = (language) => `/offline/${language}`;

/** Keep the offline pages, as somebody who is not signed in gets them, and their files. */
async function fill() {
  const cache = await caches.open(CACHE);
  const pages = RELEASE.languages.map(offlinePage);
  await Promise.all([...pages, ...RELEASE.files].map(async (path) => {
    const answer = await fetch(path, { credentials: "omit", cache: "no-cache", redirect: "error" });
    if (!isFile(answer)) throw new Error("no file of this release");
    await cache.put(path, answer);
  }));
}

/**
 * Remove what earlier releases kept, and have the browser ask for a page while this worker starts.
 * The open page becomes one of this worker's too. While a page that is open is no worker's, and a new worker
 * waits, Chromium stops the old worker during a reload of that page: it then takes a second more, or never ends.
 */
async function begin() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(NAMES) && name !== CACHE).map((name) => caches.delete(name)));
  await registration.navigationPreload?.enable();
  await clients.claim();
}

/** Whether an answer is the file itself, and no page of a proxy or a network that asks somebody to sign in. */
const isFile = ({ status, redirected, type }) => status === 200 && !redirected && type === "basic";

/** What the cache has for a request. It makes no cache: one that a page removed stays removed. */
const kept = (request) => caches.match(request, { cacheName: CACHE, ignoreVary: true }).catch(() => undefined);

/** Keep an answer, unless the cache was removed meanwhile. */
async function keep(request, answer) {
  if (await caches.has(CACHE)) await (await caches.open(CACHE)).put(request, answer);
}

/**
 * A static file of this release: kept the first time, since its address never has another content.
 * The page does not wait for the keeping: a disk that is slow or full delays and breaks nothing.
 */
async function file(event) {
  const { request } = event;
  const found = await kept(request);
  if (found) return found;
  const answer = await fetch(request);
  if (isFile(answer)) event.waitUntil(keep(request, answer.clone()).catch(() => {}));
  return answer;
}

/** A page as the node answers, or the offline page. */
async function page(event) {
  try {
    const answer = (await event.preloadResponse) ?? (await fetch(event.request));
    if (!NODE_IS_AWAY.includes(answer.status)) return answer;
  } catch {
    // No network, or no node: the offline page says it.
  }
  const chosen = await (await kept(CHOSEN))?.text();
  return (await kept(offlinePage(chosen ?? RELEASE.languages[0]))) ?? Response.error();
}

/**
 * A page tells its language and its release. A worker that waits takes over only from a page of its own
 * release, where no other page is open: files of an earlier release stay as long as a page may need them.
 */
async function told({ language, base }) {
  if (RELEASE.languages.includes(language)) await keep(CHOSEN, new Response(language));
  const open = await clients.matchAll({ type: "window", includeUncontrolled: true });
  if (base === RELEASE.base && open.length < 2) await skipWaiting();
}

addEventListener("install", (event) => event.waitUntil(fill()));
addEventListener("activate", (event) => event.waitUntil(begin()));
addEventListener("message", (event) => event.waitUntil(told(event.data)));
addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (pathname.startsWith(RELEASE.base)) event.respondWith(file(event));
  else if (request.mode === "navigate" && !NO_PAGES.some((part) => pathname.startsWith(part))) event.respondWith(page(event));
});
