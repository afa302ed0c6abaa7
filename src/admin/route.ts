import type { z } from "zod";
import type { Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { Control } from "./control.ts";

/** What a route's handler is given, all checked against its schemas. */
export interface RouteInput<Path, Query, Body> {
  readonly control: Control;
  readonly path: Path;
  readonly query: Query;
  readonly body: Body;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

/**
 * One operation of the API: what the server does and what the OpenAPI file says are both read from
 * here.
 */
export interface RouteOf<
  Path extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Reply extends z.ZodType,
> {
  readonly method: "GET" | "POST" | "PUT";
  /** With parameters in braces: `/v1/maps/{map}`. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly parameters: Path;
  readonly query: Query;
  /** Undefined: it takes no body. */
  readonly body: Body | undefined;
  readonly reply: Reply;
  /** It takes as long as a config does: the client is told at once that it is under way (102). */
  readonly isLong?: true;
  readonly handle: (
    input: RouteInput<z.output<Path>, z.output<Query>, z.output<Body>>,
  ) => Promise<Result<z.output<Reply>, UserError>> | Result<z.output<Reply>, UserError>;
}

/** As `RouteOf`, answering with a line of JSON for each row; rows come in batches, as they are there. */
export interface StreamOf<
  Path extends z.ZodObject,
  Query extends z.ZodObject,
  Row extends z.ZodType,
> {
  readonly method: "GET";
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly parameters: Path;
  readonly query: Query;
  readonly row: Row;
  readonly handle: (
    input: RouteInput<z.output<Path>, z.output<Query>, undefined>,
  ) =>
    | Promise<Result<AsyncIterable<readonly z.output<Row>[]>, UserError>>
    | Result<AsyncIterable<readonly z.output<Row>[]>, UserError>;
}

export type AnyRoute =
  | (RouteOf<z.ZodObject, z.ZodObject, z.ZodType, z.ZodType> & { readonly kind: "reply" })
  | (StreamOf<z.ZodObject, z.ZodObject, z.ZodType> & { readonly kind: "stream" });

/** A route with its schemas' types held to its handler's. */
export function replying<
  Path extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  Reply extends z.ZodType,
>(route: RouteOf<Path, Query, Body, Reply>): AnyRoute {
  return { kind: "reply", ...route } as unknown as AnyRoute;
}

export function streaming<
  Path extends z.ZodObject,
  Query extends z.ZodObject,
  Row extends z.ZodType,
>(route: StreamOf<Path, Query, Row>): AnyRoute {
  return { kind: "stream", ...route } as unknown as AnyRoute;
}
