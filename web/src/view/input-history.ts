// The last lines that were typed, to be had back with Up. Pure.

const MAX_LINES = 50;

export class InputHistory {
  #lines: string[] = [];
  #at = 0; // which of them stands in the field; the length: none

  add(line: string): void {
    if (this.#lines.at(-1) !== line) this.#lines.push(line);
    if (this.#lines.length > MAX_LINES) this.#lines.shift();
    this.reset();
  }

  /** Something else is in the field now. */
  reset(): void {
    this.#at = this.#lines.length;
  }

  /** Whether Up and Down go through the lines: the field is empty, or has one of them as it was. */
  canRecall(field: string): boolean {
    return field === "" || field === this.#lines[this.#at];
  }

  previous(): string | undefined {
    if (this.#at === 0) return undefined;
    return this.#lines[--this.#at];
  }

  next(): string | undefined {
    if (this.#at >= this.#lines.length) return undefined;
    return this.#lines[++this.#at] ?? "";
  }
}
