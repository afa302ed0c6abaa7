import { captureRoutes } from "./capture-routes.ts";
import { eventRoutes } from "./event-routes.ts";
import { filterRoutes } from "./filter-routes.ts";
import { mapRoutes } from "./map-routes.ts";
import { proxyRoutes } from "./proxy-routes.ts";
import type { AnyRoute } from "./route.ts";

/** Every operation of the API. */
export const routes: readonly AnyRoute[] = [
  ...proxyRoutes,
  ...filterRoutes,
  ...mapRoutes,
  ...captureRoutes,
  ...eventRoutes,
];

/** What a request's method and path lead to. */
export type Match =
  | { readonly kind: "found"; readonly route: AnyRoute; readonly path: Record<string, string> }
  | { readonly kind: "no_method"; readonly allowed: readonly string[] }
  | { readonly kind: "no_path" };

const patterns = routes.map((route) => ({ route, parts: route.path.split("/") }));

/** `path` as it stands in the request, without the query. */
export function matchRoute(method: string, path: string): Match {
  const given = path.split("/");
  const allowed: string[] = [];
  for (const { route, parts } of patterns) {
    const values = parametersOf(parts, given);
    if (values === undefined) continue;
    if (route.method === method) return { kind: "found", route, path: values };
    allowed.push(route.method);
  }
  return allowed.length > 0 ? { kind: "no_method", allowed } : { kind: "no_path" };
}

function parametersOf(
  parts: readonly string[],
  given: readonly string[],
): Record<string, string> | undefined {
  if (parts.length !== given.length) return undefined;
  const values: Record<string, string> = {};
  for (const [i, part] of parts.entries()) {
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name === undefined) {
      if (part !== given[i]) return undefined;
      continue;
    }
    try {
      values[name] = decodeURIComponent(given[i]!);
    } catch {
      return undefined;
    }
    if (values[name] === "") return undefined;
  }
  return values;
}
