// Typed access to the fields of a server's message. A wrong type raises an error that names the field, and
// the client ignores the message. The limits protect the memory; they are larger than the limits in
// docs/protocol.rst.

import type { Message, RoomSummary } from "./events.ts";

export type Fields = Record<string, unknown>;

export class InvalidMessageError extends Error {
  constructor(readonly field: string) {
    super(`the server sent a message with an invalid ${field}`);
  }
}

const MAX_NAME = 256; // characters of a name
export const MAX_TEXT = 4096; // characters of a description
const MAX_ITEMS = 10_000; // names or rooms in one list

/** Return the object in a frame; null: the frame has none. */
export function parse(data: unknown): Fields | null {
  if (typeof data !== "string") return null;
  try {
    const value: unknown = JSON.parse(data);
    return isObject(value) && typeof value.type === "string" ? value : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function text(fields: Fields, field: string, maxLength = MAX_NAME): string {
  const value = fields[field];
  if (typeof value !== "string" || value.length > 2 * maxLength) throw new InvalidMessageError(field);
  return value;
}

/** Return a string; "" if it is missing. */
export function optionalText(fields: Fields, field: string, maxLength = MAX_NAME): string {
  return fields[field] === undefined || fields[field] === null ? "" : text(fields, field, maxLength);
}

export function body(fields: Fields): string {
  return text(fields, "body", Number.POSITIVE_INFINITY);
}

export function integer(fields: Fields, field: string, min = 0): number {
  const value = fields[field];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min)
    throw new InvalidMessageError(field);
  return value;
}

export function seconds(fields: Fields, field: string): number {
  const value = fields[field];
  if (typeof value !== "number" || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER))
    throw new InvalidMessageError(field);
  return value;
}

export function optionalSeconds(fields: Fields, field: string): number | null {
  return fields[field] === undefined || fields[field] === null ? null : seconds(fields, field);
}

export function names(fields: Fields): string[] {
  const values = fields.names;
  if (!Array.isArray(values) || values.length > MAX_ITEMS) throw new InvalidMessageError("names");
  if (!values.every((value) => typeof value === "string" && value.length <= 2 * MAX_NAME))
    throw new InvalidMessageError("names");
  return values;
}

export function objects(fields: Fields, field: string): Fields[] {
  const values = fields[field];
  if (!Array.isArray(values) || values.length > MAX_ITEMS || !values.every(isObject))
    throw new InvalidMessageError(field);
  return values;
}

/** Return a room from a `welcome` or `rooms` message. */
export function summary(fields: Fields): RoomSummary {
  return {
    room: text(fields, "room"),
    members: integer(fields, "members"),
    topic: text(fields, "topic", MAX_TEXT),
    seq: integer(fields, "seq"),
    salt: optionalText(fields, "salt"),
  };
}

/** Return a message of that room from `said` or `history`. */
export function message(fields: Fields, room: string): Message {
  return {
    room,
    to: "",
    from: text(fields, "from"),
    seq: integer(fields, "seq", 1),
    at: seconds(fields, "at"),
    id: optionalText(fields, "id"),
    body: body(fields),
    cipher: optionalText(fields, "cipher"),
    isOwn: false,
    isMissed: false,
  };
}
