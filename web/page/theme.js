// Runs before the first paint, so that the page does not flash in the wrong colours.
try {
  const theme = JSON.parse(localStorage.getItem('aiosfu') ?? '{}').theme;
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset['theme'] = theme;
} catch {
  // Storage is blocked: use the system's colours.
}
