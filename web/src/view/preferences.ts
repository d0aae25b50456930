// Preferences in this browser: the name, and whether to notify. Storage may be missing or forbidden; the page
// asks again then.

export function getPreference(key: string): string {
  try {
    return localStorage.getItem(`selchat.${key}`) ?? "";
  } catch {
    return "";
  }
}

export function setPreference(key: string, value: string): void {
  try {
    localStorage.setItem(`selchat.${key}`, value);
  } catch {
    // The preference lasts until the page closes.
  }
}
