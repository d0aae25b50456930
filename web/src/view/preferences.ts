// The few things that the page remembers on this machine: the name, and whether notifications are wanted. Storage may
// be missing or forbidden; then they are asked for again.

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
    // then not
  }
}
