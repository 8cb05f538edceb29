// The time of the server. This computer's clock may be wrong, and what is signed has its time.

const TOLERATED_MS = 10_000;

/** By how many milliseconds the server is ahead of this computer, where that is more than a delay. */
export const skew = skewOf(globalThis.document?.body.dataset.now);

function skewOf(saidNow) {
  if (!saidNow) return 0; // a program that checks what pages check, and has no page
  const [navigation] = performance.getEntriesByType("navigation");
  const ahead = Date.parse(saidNow) - performance.timeOrigin - (navigation?.responseStart ?? 0);
  return Math.abs(ahead) > TOLERATED_MS ? ahead : 0;
}

/** The server's time now, in milliseconds. */
export const serverNow = () => Date.now() + skew;

/** The server's time now, as the models write a moment. */
export const nowText = () => momentText(new Date(serverNow()));

/** A moment as the models write it: UTC, to the second. */
export const momentText = (moment) => `${moment.toISOString().slice(0, 19)}Z`;
