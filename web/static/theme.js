// Runs before the first paint (a classic script), so that a chosen theme never flashes. `color-scheme` drives light-dark() in style.css.
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("visearch.theme");
  } catch {
    // storage is off: the system's theme holds
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
