// The lines that the user sent last, recalled with Up and Down. Pure.

const MAX_LINES = 50;

export class InputHistory {
  #lines: string[] = [];
  #at = 0; // index of the line in the field; the length: none

  add(line: string): void {
    if (this.#lines.at(-1) !== line) this.#lines.push(line);
    if (this.#lines.length > MAX_LINES) this.#lines.shift();
    this.reset();
  }

  /** Leave the history: the user typed something else. */
  reset(): void {
    this.#at = this.#lines.length;
  }

  /** Whether Up and Down recall lines: the field is empty, or has a recalled line unchanged. */
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
