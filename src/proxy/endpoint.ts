/** The text that names an address and port in tables of sessions and destinations. */
export function endpointKey(address: string, port: number): string {
  return `${address}|${port}`;
}

/** As a person writes it: IPv6 in brackets. */
export function formatEndpoint(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
