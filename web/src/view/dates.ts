// Dates and times for people. Pure, except for the time zone and the locale.
// Words are English, like the page. The system decides between 14:05 and 2:05 PM.

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const YEAR = new Intl.DateTimeFormat("en-GB", {
  weekday: "long",
  day: "numeric",
  month: "long",
  year: "numeric",
});

/** A server may send an impossible time; that must not break the page. */
function formatted(format: Intl.DateTimeFormat, at: number): string {
  const date = new Date(at * 1000);
  return Number.isNaN(date.getTime()) ? "??:??" : format.format(date);
}

/** Return the time of day. `brief`: without AM or PM, where the row above shows it. */
export function clockTime(at: number, brief = false): string {
  const date = new Date(at * 1000);
  if (!brief || Number.isNaN(date.getTime())) return formatted(CLOCK, at);
  const parts = CLOCK.formatToParts(date).filter(({ type }) => type !== "dayPeriod");
  return parts
    .map(({ value }) => value)
    .join("")
    .trim();
}

export function fullTime(at: number): string {
  return formatted(FULL, at);
}

/** Return the value of `<time datetime>`. */
export function isoTime(at: number): string {
  const date = new Date(at * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

export function dayName(at: number, now: Date): string {
  const date = new Date(at * 1000);
  const days = (offset: number): string =>
    new Date(now.getFullYear(), now.getMonth(), now.getDate() + offset).toDateString();
  if (date.toDateString() === days(0)) return "Today";
  if (date.toDateString() === days(-1)) return "Yesterday";
  return formatted(date.getFullYear() === now.getFullYear() ? DAY : YEAR, at);
}
