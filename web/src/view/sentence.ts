// Reasons as sentences. Pure.

/** Return the text with a capital and a full stop. */
export function asSentence(reason: string, fallback: string): string {
  const text = reason.trim() || fallback;
  return text.charAt(0).toLocaleUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}
