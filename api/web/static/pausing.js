// Pauses between two tries: longer after each failure, and over when the line is back.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

/** How long to wait after so many failures, in milliseconds, with jitter. */
export const pauseAfter = (failed) =>
  Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, failed)) * (0.5 + Math.random());

/** Wait, or until the line is back or `signal` ends the work. */
export const pause = (milliseconds, signal) => new Promise((resolve) => {
  const over = () => {
    clearTimeout(timer);
    removeEventListener("online", over);
    signal?.removeEventListener("abort", over);
    resolve();
  };
  const timer = setTimeout(over, milliseconds);
  addEventListener("online", over);
  signal?.addEventListener("abort", over);
});
