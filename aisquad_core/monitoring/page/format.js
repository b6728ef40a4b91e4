// Figures as people say them, the same way as the screen in the terminal does.

const NUMBER = new Intl.NumberFormat("en");

export function count(value) {
  return value === null || value === undefined ? "–" : NUMBER.format(Math.round(value));
}

export function percent(value) {
  return value === null || value === undefined ? "–" : `${Math.round(value)} %`;
}

export function rate(value) {
  if (value === null || value === undefined) return "–";
  const share = value * 100;
  return `${share > 99 && share < 100 ? Math.floor(share * 10) / 10 : Math.round(share)} %`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)}ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d ${two(Math.floor((whole % 86400) / 3600))}h`;
}

export function ago(stamp, now) {
  const seconds = Math.max(0, (now - Date.parse(stamp)) / 1000);
  if (seconds < 1) return "now";
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "m"]]) {
    if (seconds >= unit) return `${Math.floor(seconds / unit)}${name} ago`;
  }
  return `${Math.floor(seconds)}s ago`;
}

export function bytes(value) {
  return `${(value / 2 ** 30).toFixed(1)} GiB`;
}

export function clock(time, minutes) {
  const at = new Date(time);
  const hour = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (minutes <= 1440) return hour;
  return `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${hour}`;
}
