// Times of the API (RFC 3339 with nanoseconds, UTC) as the reader's local time.

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minuteFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const utcDayFormat = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });

/** Milliseconds since 1970. Finer digits are cut off first, since not every browser reads nine of them. */
export function milliseconds(text) {
  return Date.parse(text.replace(/(\.\d{3})\d+/, "$1"));
}

export function clockText(time) {
  return clockFormat.format(time);
}

export function minuteText(time) {
  return minuteFormat.format(time);
}

export function dayText(time) {
  return dayFormat.format(time);
}

export function utcDayText(time) {
  return utcDayFormat.format(time);
}

/** Time of day today, otherwise with the date. */
export function stampText(time) {
  const sameDay = new Date(time).toDateString() === new Date().toDateString();
  return sameDay ? clockText(time) : `${dayText(time)} ${clockText(time)}`;
}
