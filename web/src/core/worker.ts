// Worker: encrypts outside the page's thread, one request at a time, so that a slow key derivation does not
// freeze the page. Passphrases arrive in requests and go nowhere else.

import { EncryptionSessions, type Request } from "./e2ee.ts";

const sealing = new EncryptionSessions((size) => crypto.getRandomValues(new Uint8Array(size)));

self.onmessage = (event: MessageEvent<{ number: number; request: Request }>) => {
  const { number, request } = event.data;
  self.postMessage({ number, answer: sealing.handle(request) });
};
