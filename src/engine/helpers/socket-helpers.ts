import type { ProgramType } from "../../object/object-spec.ts";
import { type Helper, tcTypes } from "./helper.ts";

/** `tc_cls_act_func_proto` and `cg_skb_func_proto`, net/core/filter.c. */
const types: readonly ProgramType[] = [...tcTypes, "cgroup_skb"];

/**
 * Helpers that ask a socket for another view of it. No packet here has one: `__sk_buff.sk` is null,
 * and what the verifier accepts never comes to call these. They are here so that objects that look at
 * sockets where there are some can be loaded.
 */
export const socketHelpers: readonly Helper[] = [
  {
    id: 95,
    name: "sk_fullsock",
    arguments: ["socket"],
    returns: "sock_or_null",
    types,
    call: () => 0,
  },
  {
    id: 96,
    name: "tcp_sock",
    arguments: ["socket"],
    returns: "tcp_sock_or_null",
    types,
    call: () => 0,
  },
  {
    id: 98,
    name: "get_listener_sock",
    arguments: ["socket"],
    returns: "sock_or_null",
    types,
    call: () => 0,
  },
];
