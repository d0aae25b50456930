// The keyboard of a phone. Where the browser makes the page smaller for it (interactive-widget in index.html) there is
// nothing to do; others, as Safari, lay it over the page, and only the visual viewport tells: then the chat has the
// height that is left, so that what one writes and the messages above it are both seen.

const MIN_KEYBOARD = 100; // pixels that are missing at least when it is one, and not a bar of the browser

export function followKeyboard(element: HTMLElement): void {
  const viewport = window.visualViewport;
  if (!viewport) return;
  viewport.addEventListener("resize", () => {
    // A page that is zoomed in by fingers has a small viewport, too, and must stay as it is.
    const covered = viewport.scale < 1.01 && window.innerHeight - viewport.height > MIN_KEYBOARD;
    element.style.height = covered ? `${viewport.height}px` : "";
    if (covered) window.scrollTo(0, 0);
  });
}
