// The worker: does the encryption beside the page, one request after the other, so that a key that takes its time
// freezes nothing. The passphrase comes here by a message, and goes nowhere else.

import { EncryptionSessions, type Request } from "./e2ee.ts";

const sealing = new EncryptionSessions((size) => crypto.getRandomValues(new Uint8Array(size)));

self.onmessage = (event: MessageEvent<{ number: number; request: Request }>) => {
  const { number, request } = event.data;
  self.postMessage({ number, answer: sealing.handle(request) });
};
