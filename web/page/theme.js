// Runs before the first paint, so that nobody is flashed with the wrong colours.
try {
  const theme = JSON.parse(localStorage.getItem('aiosfu') ?? '{}').theme;
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset['theme'] = theme;
} catch {
  // Storage is forbidden: the system's colours will do.
}
