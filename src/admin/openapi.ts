import { z } from "zod";
import { problemReply } from "./replies.ts";
import type { AnyRoute } from "./route.ts";
import { routes } from "./routes.ts";

/** Statuses that any operation may answer with instead of its own. */
const failures: Readonly<Record<string, string>> = {
  "4XX": "What the request got wrong, or what does not exist",
  "5XX": "What the proxy could not do",
};

/** The API's description, OpenAPI 3.1, made of the schemas that the server checks with. */
export function openApiDocument(): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    paths[route.path]![route.method.toLowerCase()] = operation(route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Control API of Weir",
      version: "1",
      description:
        "Served on a Unix socket that only its owner may open, or on TCP with a bearer token. Streams answer with lines of JSON (NDJSON); where one cannot go on, its last line is an error.",
    },
    paths,
    components: {
      schemas: { Problem: schemaOf(problemReply) },
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
    security: [{}, { token: [] }],
  };
}

function operation(route: AnyRoute): Record<string, unknown> {
  const success =
    route.kind === "reply"
      ? { "application/json": { schema: schemaOf(route.reply) } }
      : { "application/x-ndjson": { schema: schemaOf(route.row) } };
  const problem = {
    "application/json": { schema: { $ref: "#/components/schemas/Problem" } },
  };
  return {
    operationId: route.id,
    summary: route.summary,
    parameters: [...parameters(route.parameters, "path"), ...parameters(route.query, "query")],
    ...(route.kind === "reply" && route.body !== undefined
      ? {
          requestBody: {
            required: true,
            content: { "application/json": { schema: schemaOf(route.body) } },
          },
        }
      : {}),
    responses: {
      "200": {
        description: route.kind === "reply" ? "Done" : "A line for each",
        content: success,
      },
      ...Object.fromEntries(
        Object.entries(failures).map(([status, description]) => [
          status,
          { description, content: problem },
        ]),
      ),
    },
  };
}

function parameters(schema: z.ZodObject, place: "path" | "query"): unknown[] {
  return Object.entries(schema.shape).map(([name, one]) => {
    const { description, ...inner } = schemaOf(one as z.ZodType) as { description?: string };
    return {
      name,
      in: place,
      required: place === "path" || !(one as z.ZodType).safeParse(undefined).success,
      ...(description === undefined ? {} : { description }),
      schema: inner,
    };
  });
}

function schemaOf(schema: z.ZodType): object {
  const { $schema: _dialect, ...body } = z.toJSONSchema(schema, { io: "input", reused: "inline" });
  return body;
}
