// Keyboard of a phone. Some browsers make the page smaller for it (interactive-widget in index.html). Others,
// such as Safari, lay it over the page and change only the visual viewport: then the chat gets the remaining
// height, so that the input field and the messages above it stay visible.

const MIN_KEYBOARD = 100; // pixels: a smaller change is a bar of the browser

export function followKeyboard(element: HTMLElement): void {
  const viewport = window.visualViewport;
  if (!viewport) return;
  viewport.addEventListener("resize", () => {
    // Pinch zoom also makes the viewport small, and must not resize the chat.
    const covered = viewport.scale < 1.01 && window.innerHeight - viewport.height > MIN_KEYBOARD;
    element.style.height = covered ? `${viewport.height}px` : "";
    if (covered) window.scrollTo(0, 0);
  });
}
