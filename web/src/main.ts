// Puts the core and the view together.
export {};
