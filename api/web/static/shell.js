// Registers the worker of the pages (service_worker.js), or removes it, as the node says on each page.

const { serviceWorker } = navigator; // undefined where the browser has none, or the address is not protected
const { worker: wanted, language } = document.documentElement.dataset;
const told = { language, base: new URL(".", import.meta.url).pathname };

async function register() {
  const registration = await serviceWorker.register("/service-worker.js");
  const tell = () => {
    for (const one of [registration.installing, registration.waiting, registration.active]) one?.postMessage(told);
  };
  registration.addEventListener("updatefound", tell);
  tell();
}

async function remove() {
  await (await serviceWorker.getRegistration("/"))?.unregister();
  for (const name of await caches.keys()) await caches.delete(name);
}

/** Do as the node says. A browser that refuses keeps working without a worker. */
export async function beginShell() {
  if (!serviceWorker || !wanted) return;
  await (wanted === "on" ? register() : remove()).catch(() => {});
}
