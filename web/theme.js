// The colour theme chosen before, set before anything is drawn. Nothing chosen: the system's.
(() => {
  const theme = localStorage.getItem('guise-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
