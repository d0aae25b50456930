// Reasons, as sentences. Pure.

/** With a capital and a stop, whoever wrote it. */
export function sentence(why: string, otherwise: string): string {
  const text = why.trim() || otherwise;
  return text.charAt(0).toLocaleUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}
