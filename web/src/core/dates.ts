// Dates and times for people. Pure, except for the time zone and the locale.
// Words and digits are English, like the page. The system decides between 14:05 and 02:05 PM, once for all times.

/** Hours of the clock that the system prefers. */
export const CLOCK_HOURS = hoursOfClock(undefined);

const LANGUAGE = CLOCK_HOURS === 12 ? "en-US" : "en-GB";
const hourCycle = CLOCK_HOURS === 12 ? "h12" : "h23";
const CLOCK = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit", hourCycle });
const SECONDS = new Intl.DateTimeFormat(LANGUAGE, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle,
});
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "full" });
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const YEAR = new Intl.DateTimeFormat("en-GB", {
  weekday: "long",
  day: "numeric",
  month: "long",
  year: "numeric",
});

const UNKNOWN = "??:??";

/** A server may send an impossible time; that must not break the page. */
function formatted(format: Intl.DateTimeFormat, at: number): string {
  const date = new Date(at * 1000);
  return Number.isNaN(date.getTime()) ? UNKNOWN : format.format(date);
}

/** Return the time of day. */
export function clockTime(at: number): string {
  return formatted(CLOCK, at);
}

/** Return the date and the time with seconds. */
export function fullTime(at: number): string {
  const date = formatted(FULL, at);
  return date === UNKNOWN ? date : `${date} at ${formatted(SECONDS, at)}`;
}

/** Return a time in the future: "14:05", or with the date "14:05 on Monday 5 May 2026". */
export function futureTime(at: number, now: number): string {
  const isToday = new Date(at * 1000).toDateString() === new Date(now * 1000).toDateString();
  return isToday ? clockTime(at) : `${clockTime(at)} on ${formatted(YEAR, at)}`;
}

/** Return date and time with seconds, in columns. */
export function tabularTime(at: number): string {
  const date = new Date(at * 1000);
  if (Number.isNaN(date.getTime())) return "????-??-?? ??:??:??";
  const two = (number: number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${SECONDS.format(date)}`;
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

/** Return 12 or 24: the hours of the clock in that locale. */
export function hoursOfClock(locale: string | undefined): 12 | 24 {
  const { hourCycle } = new Intl.DateTimeFormat(locale, { hour: "numeric" }).resolvedOptions();
  return hourCycle === "h11" || hourCycle === "h12" ? 12 : 24;
}
