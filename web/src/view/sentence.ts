// Reasons, as sentences. Pure.

/** With a capital and a stop, whoever wrote it. */
export function asSentence(why: string, fallback: string): string {
  const text = why.trim() || fallback;
  return text.charAt(0).toLocaleUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}
