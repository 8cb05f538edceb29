// What this browser keeps for a person: keys that no script can read out, drafts, pinned logs.

const STORES = { keys: "agency", secrets: "id", drafts: "id", pins: "origin" };
let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open("case-ledger", 1);
    asked.onupgradeneeded = () => {
      for (const [name, keyPath] of Object.entries(STORES)) {
        asked.result.createObjectStore(name, { keyPath });
      }
    };
    asked.onsuccess = () => {
      // A browser that is short of space removes what is kept, also under an open page: it begins anew.
      asked.result.onclose = forget;
      asked.result.onversionchange = forget;
      resolve(asked.result);
    };
    asked.onerror = () => reject(asked.error);
  });
  return opened;
}

function forget({ target }) {
  target.close();
  opened = null;
}

async function ask(store, mode, how) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, mode);
    const asked = how(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(asked.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

export const get = (store, key) => ask(store, "readonly", (rows) => rows.get(key));
export const all = (store) => ask(store, "readonly", (rows) => rows.getAll());
export const keys = (store) => ask(store, "readonly", (rows) => rows.getAllKeys());
export const put = (store, row) => ask(store, "readwrite", (rows) => rows.put(row));
export const remove = (store, key) => ask(store, "readwrite", (rows) => rows.delete(key));
export const clear = (store) => ask(store, "readwrite", (rows) => rows.clear());
